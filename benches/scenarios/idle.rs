//! The processor time of threads that wait for seconds, in one process.
//!
//! The process warms up, until its threads sleep as long as they ever do. Then it reports its
//! processor time as a percentage of one core. The other process has what they wait for: the
//! publisher or the server. The floor is a thread that sleeps as often as one of them, and does
//! nothing in between.

use super::packets::Numbered;
use super::packets::Tick;
use crate::floor::Doze;
use crate::harness::{
    Outcome, Phase, Run, Sample, Scale, Scenario, Side, THERE, Target, Unit, processor_time,
};
use packetring::cluster::Service;
use packetring::{Ring, Worker, select};
use std::thread;
use std::time::{Duration, Instant};

/// The threads that wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Subscribers of one ring. One of them: `parked_reader`.
    Subscribers(usize),
    /// Callers of a server in another process, which is busy.
    Callers(usize),
    /// Workers that wait in `select` for an inbox, a queue and a service.
    Selecting(usize),
}

impl Idle {
    fn threads(self) -> usize {
        match self {
            Self::Subscribers(count) | Self::Callers(count) | Self::Selecting(count) => count,
        }
    }

    /// Time of the measurement.
    fn silence(run: &Run) -> Duration {
        match run.scale {
            Scale::Full => Duration::from_secs(4),
            Scale::Quick => Duration::from_secs(1),
            Scale::Trial => Duration::from_millis(100),
        }
    }

    /// Starts the threads. They end with the process.
    fn start_threads(self, name: &str) -> Outcome<()> {
        match self {
            Self::Subscribers(count) => {
                let ring = Ring::builder().attach(name)?;
                for _ in 0..count {
                    let mut subscriber = ring.subscriber::<Tick>()?;
                    thread::spawn(move || subscriber.recv().map(drop));
                }
            }
            Self::Callers(count) => {
                let worker = Worker::join(name, "callers")?;
                for _ in 0..count {
                    let client = worker.client::<Tick, Tick>("busy")?;
                    thread::spawn(move || client.call(&Tick::blank()).map(drop));
                }
                thread::spawn(move || keep(worker));
            }
            Self::Selecting(count) => {
                for index in 0..count {
                    let worker = Worker::join(name, &format!("idle-{index}"))?;
                    let (mut inbox, mut jobs) = (worker.inbox()?, worker.queue::<Tick>("jobs")?);
                    let mut service: Service<Tick, Tick> = worker.service("calls")?;
                    thread::spawn(move || {
                        select(&mut [&mut inbox, &mut jobs, &mut service]);
                        keep(worker);
                    });
                }
            }
        }
        Ok(())
    }
}

/// Keeps a value until the process ends.
fn keep<T>(value: T) {
    thread::sleep(Duration::from_secs(3600));
    drop(value);
}

impl Scenario for Idle {
    fn name(&self) -> String {
        match self {
            Self::Subscribers(1) => "parked_reader".into(),
            Self::Subscribers(count) => format!("idle_subscribers_{count}"),
            Self::Callers(count) => format!("waiting_callers_{count}"),
            Self::Selecting(count) => format!("idle_in_select_{count}"),
        }
    }

    fn about(&self) -> String {
        let who = match self {
            Self::Subscribers(1) => "subscriber of a ring",
            Self::Subscribers(_) => "subscribers of one ring",
            Self::Callers(_) => "callers of a busy server",
            Self::Selecting(_) => "workers in select (inbox, queue, service)",
        };
        format!("processor time of {} idle {who}, one process, in percent", self.threads())
    }

    fn payload(&self) -> usize {
        Tick::ARCHIVED
    }

    fn unit(&self) -> Unit {
        Unit::Percent
    }

    fn floor(&self) -> Option<Box<dyn Scenario>> {
        Some(Box::new(Doze { silence: Self::silence }))
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target::AtMost(match self {
            Self::Subscribers(1) => 0.05,
            Self::Subscribers(_) | Self::Selecting(_) => 1.0,
            Self::Callers(_) => 2.0,
        })]
    }

    fn is_headline(&self) -> bool {
        false
    }

    fn fixed_phase(&self) -> Option<Phase> {
        Some(Phase::Any)
    }

    fn measure(&self, run: &Run) -> Outcome<Sample> {
        let name = run.ring(THERE);
        let _publisher = match self {
            Self::Subscribers(count) => {
                let ring = Ring::builder().max_subscribers(*count).open(&name)?;
                Some(ring.publisher::<Tick>()?)
            }
            Self::Callers(_) | Self::Selecting(_) => None,
        };
        let worker = match self {
            Self::Callers(_) => Some(Worker::join(&name, "server")?),
            Self::Subscribers(_) | Self::Selecting(_) => None,
        };
        let mut service: Option<Service<Tick, Tick>> =
            worker.as_ref().map(|worker| worker.service("busy")).transpose()?;
        let mut partner = run.start(0)?;
        // The server is busy with the first call.
        let request = service.as_mut().map(Service::recv).transpose()?;
        let percent = partner.read_line()?.parse()?;
        partner.finish()?;
        drop(request);
        Ok(Sample::of(percent))
    }

    fn serve(&self, side: &mut Side) -> Outcome<()> {
        self.start_threads(&side.run.ring(THERE))?;
        side.ready()?;
        let silence = Self::silence(&side.run);
        // After this time most sleeps are as long as they get.
        thread::sleep(silence / 2);
        let (started, before) = (Instant::now(), processor_time());
        thread::sleep(silence);
        let (waited, took) = (started.elapsed(), processor_time() - before);
        side.report(&(100.0 * took.as_secs_f64() / waited.as_secs_f64()).to_string())
    }
}
