//! Many callers of one service: threads in up to 64 processes, and two servers.
//!
//! - All sides wait by the default policy, and are not pinned.
//! - Each thread makes one call after the other for a fixed time. The threads of a process share a
//!   client.
//! - The throughput is the number of all calls. Its latencies are those of single calls.
//! - The fairness is the number of calls of the busiest thread, divided by that of the median
//!   thread.
//!
//! The floor of a number of callers is this scenario with 16.

use super::packets::{Numbered, Tick};
use crate::harness::{
    Outcome, Partner, Phase, Run, Sample, Scale, Scenario, Side, THERE, Target, Unit, check,
    latencies, median, millions,
};
use packetring::Worker;
use packetring::cluster::{Client, Request, Service, ServiceRecvTimeoutError};
use std::time::{Duration, Instant};

/// Servers; the first partners.
const SERVERS: u32 = 2;
const MOST_PROCESSES: u32 = 64;
/// Callers of the floor.
const FEW: u32 = 16;
const SERVICE: &str = "echo";
/// No server waits longer for a call.
const LONG: Duration = Duration::from_secs(60);
/// The number of the request after which a server leaves.
const END: u64 = u64::MAX >> 1;

/// Callers of one service.
#[derive(Clone, Copy)]
pub(crate) struct Callers {
    pub(crate) callers: u32,
    pub(crate) result: Measured,
}

/// The value of the scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measured {
    Throughput,
    Fairness,
}

impl Callers {
    fn processes(&self) -> u32 {
        self.callers.min(MOST_PROCESSES)
    }

    fn time(run: &Run) -> Duration {
        match run.scale {
            Scale::Full => Duration::from_secs(5),
            Scale::Quick => Duration::from_secs(1),
            Scale::Trial => Duration::from_millis(100),
        }
    }

    fn join(run: &Run, name: &str) -> Outcome<Worker> {
        Ok(Worker::join(&run.ring(THERE), name)?)
    }

    fn serve_all(side: &Side) -> Outcome<()> {
        let worker = Self::join(&side.run, &format!("server-{}", side.role))?;
        let mut service: Service<Tick, Tick> = worker.service(SERVICE)?;
        side.ready()?;
        let mut packet = Tick::blank();
        loop {
            let request = match service.recv_timeout(LONG) {
                Ok(request) => request,
                Err(ServiceRecvTimeoutError::Timeout) => return Err("no call came".into()),
                Err(error) => return Err(error.into()),
            };
            let number = request.number.to_native();
            packet.set(number);
            Request::reply(request, &packet)?;
            if number == END {
                return Ok(());
            }
        }
    }

    /// Calls until the time is over. Reports the calls of each thread, then their latencies.
    fn call_all(&self, side: &Side) -> Outcome<()> {
        let worker = Self::join(&side.run, &format!("caller-{}", side.role))?;
        let client: Client<Tick, Tick> = worker.client(SERVICE)?;
        side.ready()?;
        Side::wait_for_order()?;
        let time = Self::time(&side.run);
        let threads = self.callers / self.processes();
        let results: Vec<Result<Vec<u64>, String>> = std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| call(&client, time).map_err(|error| error.to_string()));
            let threads: Vec<_> = (0..threads).map(start).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err("thread panicked".to_owned()))
            };
            threads.into_iter().map(join).collect()
        });
        let (mut counts, mut took) = (Vec::new(), latencies()?);
        for result in results {
            let calls = result?;
            counts.push(calls.len().to_string());
            calls.into_iter().for_each(|nanoseconds| took.saturating_record(nanoseconds));
        }
        side.report(&counts.join(" "))?;
        let recorded = took
            .iter_recorded()
            .map(|at| format!("{}x{}", at.value_iterated_to(), at.count_at_value()));
        side.report(&recorded.collect::<Vec<_>>().join(" "))
    }
}

/// One call after the other. Returns the nanoseconds of each.
fn call(client: &Client<Tick, Tick>, time: Duration) -> Outcome<Vec<u64>> {
    let (started, mut packet, mut took) = (Instant::now(), Tick::blank(), Vec::new());
    while started.elapsed() < time {
        let number = took.len() as u64;
        packet.set(number);
        let started = Instant::now();
        let reply = client.call_timeout(&packet, LONG)?;
        took.push(started.elapsed().as_nanos() as u64);
        check(Tick::is(&reply, number), number)?;
    }
    Ok(took)
}

impl Scenario for Callers {
    fn name(&self) -> String {
        match self.result {
            Measured::Throughput => format!("callers_{}", self.callers),
            Measured::Fairness => format!("callers_{}_fairness", self.callers),
        }
    }

    fn about(&self) -> String {
        let (callers, processes) = (self.callers, self.processes());
        match self.result {
            Measured::Throughput => {
                format!("{callers} callers in {processes} processes, two servers, default wait")
            }
            Measured::Fairness => {
                format!("calls of the busiest of {callers} callers, to those of the median")
            }
        }
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        match self.result {
            Measured::Throughput => Unit::MillionsPerSecond,
            Measured::Fairness => Unit::Times,
        }
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        let is_floor = self.callers == FEW || self.result == Measured::Fairness;
        (!is_floor).then(|| Box::new(Self { callers: FEW, ..*self }) as Box<dyn Scenario>)
    }

    fn targets(&self) -> Vec<Target> {
        match (self.result, self.callers) {
            (Measured::Throughput, 512) => vec![Target::RatioAtLeast(0.5)],
            (Measured::Throughput, _) => Vec::new(),
            (Measured::Fairness, _) => vec![Target::AtMost(5.0)],
        }
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn fixed_phase(&self) -> Option<Phase> {
        Some(Phase::Any)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let own = Self::join(run, "measuring")?;
        let servers: Vec<Partner> =
            (0..SERVERS).map(|role| run.start(role)).collect::<Outcome<_>>()?;
        let roles = SERVERS..SERVERS + self.processes();
        let mut callers: Vec<Partner> =
            roles.map(|role| run.start(role)).collect::<Outcome<_>>()?;
        for caller in &mut callers {
            caller.resume()?;
        }
        let (mut counts, mut took) = (Vec::new(), latencies()?);
        for mut caller in callers {
            for count in caller.read_line()?.split_whitespace() {
                counts.push(count.parse::<u64>()?);
            }
            for word in caller.read_line()?.split_whitespace() {
                let (value, count) = word.split_once('x').ok_or("latency without a count")?;
                took.saturating_record_n(value.parse()?, count.parse()?);
            }
            caller.finish()?;
        }
        let client: Client<Tick, Tick> = own.client(SERVICE)?;
        let mut last = Tick::blank();
        last.set(END);
        // Any server may take each of them, and leaves.
        for _ in &servers {
            client.call_timeout(&last, LONG)?;
        }
        servers.into_iter().try_for_each(Partner::finish)?;
        let all = counts.iter().sum();
        Ok(match self.result {
            Measured::Throughput => {
                Sample { value: millions(all, Self::time(run)), latencies: Some(took) }
            }
            Measured::Fairness => {
                let most = counts.iter().copied().max().unwrap_or(0) as f64;
                let all: Vec<f64> = counts.into_iter().map(|count| count as f64).collect();
                Sample::of(most / median(&all).max(1.0))
            }
        })
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        if side.role < SERVERS { Self::serve_all(side) } else { self.call_all(side) }
    }
}
