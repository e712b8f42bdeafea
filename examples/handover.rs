//! A front process accepts connections, reads who each one is for, and hands it to that worker:
//!
//! ```text
//! cargo run --features handover --example handover -- worker ada
//! cargo run --features handover --example handover -- worker bob
//! cargo run --features handover --example handover -- front 127.0.0.1:7000
//! echo "ada hello" | nc -q1 127.0.0.1 7000
//! ```
//!
//! The worker talks to the client by itself from then on. If it dies before it took the connection,
//! the front has it back and says so to the client. Ctrl-C ends each process.

use packetring::cluster::{Handover, TryHandoverError};
use packetring::{RecvError, Stop, Worker, packet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What the front found out about a connection.
#[packet]
struct Connection {
    client: String,
    peeked: u64,
}

const TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let stop = Stop::new();
    let (mut signals, stopper) = (Signals::new([SIGINT, SIGTERM])?, stop.clone());
    std::thread::spawn(move || {
        signals.forever().next();
        stopper.stop();
    });
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cluster = std::env::var("CLUSTER").unwrap_or("handover-example".into());
    let join = |name: &str| Worker::builder().stop(&stop).join(&cluster, name);
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["front", address] => front(join("front")?, TcpListener::bind(address)?, &stop),
        ["worker", name] => serve(join(name)?),
        _ => Err("expected `front <address>` or `worker <name>`".into()),
    }
}

fn front(worker: Worker, listener: TcpListener, stop: &Stop) -> Result<(), Box<dyn Error>> {
    println!("listening on {}", listener.local_addr()?);
    listener.set_nonblocking(true)?;
    let mut handovers: Vec<Handover> = Vec::new();
    while !stop.is_stopped() {
        // One loop for new connections, and for the answers of the workers.
        let answers = handovers.iter().map(|handover| PollFd::new(handover, PollFlags::IN));
        let mut all: Vec<_> =
            std::iter::once(PollFd::new(&listener, PollFlags::IN)).chain(answers).collect();
        let _ = poll(&mut all, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
        while let Ok((stream, _)) = listener.accept() {
            handovers.extend(hand_over(&worker, stream));
        }
        for mut handover in std::mem::take(&mut handovers) {
            match handover.try_wait() {
                Ok(()) => {} // The worker has it, and the copy of this process is closed.
                Err(TryHandoverError::Pending) => handovers.push(handover),
                Err(error) => {
                    handover.into_fds().into_iter().for_each(|fd| refuse(fd, &error.to_string()));
                }
            }
        }
    }
    Ok(worker.leave()?)
}

/// Hands a connection to the worker that its first word names.
fn hand_over(worker: &Worker, stream: TcpStream) -> Option<Handover> {
    let client = stream.peer_addr().ok()?.to_string();
    let (name, peeked) = first_word(&stream)?;
    let packet = Connection { client, peeked: peeked as u64 };
    match worker.send_fds_to_timeout(&name, &packet, [stream.into()], TIMEOUT) {
        Ok(handover) => Some(handover),
        Err(not_sent) => {
            println!("{name}: {not_sent}");
            let reason = not_sent.to_string();
            not_sent.fds.into_iter().for_each(|fd| refuse(fd, &reason));
            None
        }
    }
}

/// Tells a client why nobody serves it.
fn refuse(fd: OwnedFd, reason: &str) {
    let reason = reason.to_owned();
    std::thread::spawn(move || {
        let mut stream = TcpStream::from(fd);
        writeln!(stream, "{reason}")?;
        stream.shutdown(Shutdown::Write)?;
        // A connection that is closed with unread bytes is reset, and the reason may be lost.
        std::io::copy(&mut stream, &mut std::io::sink())
    });
}

/// The first word that the client sent, which stays in the connection for the worker.
fn first_word(stream: &TcpStream) -> Option<(String, usize)> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    let mut bytes = [0; 64];
    let started = Instant::now();
    while started.elapsed() < TIMEOUT {
        let len = stream.peek(&mut bytes).ok()?;
        if let Some(end) = bytes[..len].iter().position(u8::is_ascii_whitespace) {
            return Some((std::str::from_utf8(&bytes[..end]).ok()?.to_owned(), len));
        }
        // The next call returns the same bytes at once, until more come.
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

fn serve(worker: Worker) -> Result<(), Box<dyn Error>> {
    let mut inbox = worker.inbox()?;
    inbox.accept_fds()?;
    println!("{} is ready", worker.name());
    loop {
        let mut message = match inbox.recv() {
            Ok(message) => message,
            Err(RecvError::Stopped) => break,
            Err(error) => return Err(error.into()),
        };
        let client = message.open_as::<Connection>()?.client.to_string();
        match message.take_fds().map(|fds| fds.into_iter().next()) {
            Ok(Some(fd)) => {
                let (stream, name) = (TcpStream::from(fd), worker.name().to_owned());
                std::thread::spawn(move || talk(&stream, &name));
            }
            // Any worker of the cluster may send the packet alone.
            Ok(None) => println!("{client}: no connection came with the message"),
            Err(error) => println!("{client}: {error}"),
        }
        message.ack();
    }
    drop(inbox);
    Ok(worker.leave()?)
}

/// Answers each line of a client until it has enough.
fn talk(stream: &TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_read_timeout(None)?;
    let mut out = stream;
    for line in BufReader::new(stream).lines() {
        writeln!(out, "{name} got {:?}", line?)?;
    }
    Ok(())
}
