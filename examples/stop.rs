//! A worker that ends in order at Ctrl-C or SIGTERM: run `cargo run --example stop` and press
//! Ctrl-C.
//!
//! All its waits have one `Stop`, and a thread calls it at the signal. The worker finishes what is
//! there, then leaves: nothing stays in `/dev/shm`.

use packetring::cluster::{Request, Service};
use packetring::{RecvError, Stop, Worker, select};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = Stop::new();
    let (mut signals, stopper) = (Signals::new([SIGINT, SIGTERM])?, stop.clone());
    std::thread::spawn(move || {
        signals.forever().next();
        stopper.stop();
    });

    let cluster = std::env::var("CLUSTER").unwrap_or("stop-example".into());
    let worker = Worker::builder().stop(&stop).join(&cluster, "calculator")?;
    let mut inbox = worker.inbox()?;
    let mut doubles: Service<u64, u64> = worker.service("double")?;
    println!("waiting for calls and messages; press Ctrl-C to end");
    loop {
        // An endpoint that was stopped counts as ready, and its receive says so.
        if select(&mut [&mut inbox, &mut doubles]) == 0 {
            match inbox.recv() {
                Ok(message) => message.ack(),
                Err(RecvError::Stopped) => break,
                Err(error) => return Err(error.into()),
            }
        } else if let Ok(request) = doubles.try_recv() {
            let doubled = request.to_native() * 2;
            Request::reply(request, &doubled)?;
        }
    }
    println!("stopped");
    drop((inbox, doubles));
    Ok(worker.leave()?)
}
