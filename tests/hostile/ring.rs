//! Endpoints that are alive, and a peer that writes into their segment between any two of their
//! operations.

use super::stage::{KINDS, Stage, Stages};
use super::{Choices, damage};
use packetring::any::{AnyPublisher, AnySubscriber};
use packetring::{
    OpenError, Publisher, Received, Ring, SendTimeoutError, Subscriber, Tail, TrySendError,
};
use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

/// Operations of one case.
const MOST: usize = 32;
/// Endpoints of one kind alive at a time.
const CROWD: usize = 3;

/// Runs one case.
pub(crate) fn run(data: &[u8]) {
    thread_local! {
        static STAGES: RefCell<Stages> = RefCell::default();
    }
    STAGES.with_borrow_mut(|stages| {
        let mut choices = Choices::new(data);
        let stage = stages.restored(choices.below(KINDS));
        let mut crew = Crew::default();
        for _ in 0..MOST {
            if choices.are_over() {
                break;
            }
            match choices.below(5) {
                0 | 1 if !choices.one_in(16) => damage::strike_inside(stage, &mut choices),
                0 | 1 => damage::strike(stage, &mut choices),
                _ => crew.act(&stage.ring, &mut choices),
            }
        }
        // In this order, so that what is left behind is damaged once more.
        drop(crew.outs.pop());
        damage::strike_inside(stage, &mut choices);
    });
}

/// Endpoints of one ring.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    outs: Vec<Publisher<String>>,
    mixed_outs: Vec<AnyPublisher>,
    tails: Vec<Publisher<Tail<u64, u8>>>,
    ins: Vec<Subscriber<String>>,
    mixed_ins: Vec<AnySubscriber>,
}

impl Crew {
    /// Does one thing. Whatever it gives can be used.
    pub(crate) fn act(&mut self, ring: &Ring, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0 | 1 => self.join(ring, choices),
            2 => ask(ring, choices),
            3 => self.leave(choices),
            4..7 => self.publish(ring, choices),
            _ => self.receive(ring, choices),
        }
    }

    fn join(&mut self, ring: &Ring, choices: &mut Choices<'_>) {
        match choices.below(8) {
            0 | 1 => add(&mut self.outs, ring.publisher()),
            2 => add(&mut self.mixed_outs, ring.any_publisher()),
            3 | 4 => add(&mut self.ins, ring.subscriber()),
            5 => add(&mut self.ins, ring.durable("desk")),
            6 => add(&mut self.mixed_ins, ring.any_subscriber()),
            _ => add(&mut self.mixed_ins, ring.any_durable("desk")),
        }
    }

    fn leave(&mut self, choices: &mut Choices<'_>) {
        match choices.below(4) {
            0 => drop(self.outs.pop()),
            1 => drop(self.mixed_outs.pop()),
            2 => drop(self.ins.pop()),
            _ => drop(self.mixed_ins.pop()),
        }
    }

    fn publish(&mut self, ring: &Ring, choices: &mut Choices<'_>) {
        if self.outs.is_empty() {
            add(&mut self.outs, ring.publisher());
        }
        if let (true, Some(mixed)) = (choices.one_in(4), self.mixed_outs.first_mut()) {
            return send_mixed(mixed, choices);
        }
        let which = choices.below(CROWD);
        if let Some(out) = self.outs.get_mut(which) {
            send(out, choices);
        }
        if choices.one_in(8)
            && let Some(out) = self.outs.get(which)
        {
            let twin = out.try_clone();
            add(&mut self.outs, twin);
        }
    }

    fn receive(&mut self, ring: &Ring, choices: &mut Choices<'_>) {
        if self.ins.is_empty() {
            add(&mut self.ins, ring.subscriber());
        }
        if let (true, Some(mixed)) = (choices.one_in(4), self.mixed_ins.first_mut()) {
            return receive_mixed(mixed, choices);
        }
        let which = choices.below(CROWD);
        if let Some(inbox) = self.ins.get_mut(which) {
            receive(inbox, choices);
        }
        if choices.one_in(8)
            && let Some(inbox) = self.ins.get_mut(which)
        {
            let twin = inbox.try_clone();
            add(&mut self.ins, twin);
        }
    }
}

fn add<E>(crowd: &mut Vec<E>, joined: Result<E, OpenError>) {
    match joined {
        Ok(endpoint) if crowd.len() < CROWD => crowd.push(endpoint),
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Asks the ring things.
pub(crate) fn ask(ring: &Ring, choices: &mut Choices<'_>) {
    match choices.below(8) {
        0 | 1 => assert!(ring.types().len() <= 64),
        2 => assert!(ring.subscribers() <= ring.settings().max_subscribers),
        3 => drop(black_box(ring.remove_durable("desk"))),
        4 => drop(black_box(Ring::attach(ring.name()))),
        5 => drop(black_box(Ring::remove(ring.name()))),
        6 if choices.one_in(8) => drop(black_box(ring.close())),
        _ => drop(black_box(format!("{ring:?}"))),
    }
}

fn send(out: &mut Publisher<String>, choices: &mut Choices<'_>) {
    let text = "é".repeat(choices.pick(&[0, 3, 4, 20, 100, 400, 900]));
    let outcome = match choices.below(6) {
        0..3 => out.try_send(&text).map(drop),
        3 => {
            let texts = vec![text; 1 + choices.below(5)];
            out.try_send_all(&texts).map_err(|error| error.source)
        }
        4 => return refuse_late_nonsense(out.send_timeout(&text, Duration::ZERO)),
        _ => {
            black_box((out.backlog(), out.subscribers(), format!("{out:?}")));
            out.try_wait_for_subscribers(choices.below(3))
        }
    };
    refuse_nonsense(outcome);
}

fn send_mixed(out: &mut AnyPublisher, choices: &mut Choices<'_>) {
    let outcome = match choices.below(4) {
        0 => out.try_send(&choices.word()),
        1 => out.try_send(&"text".repeat(20)),
        2 => out.try_send(&vec![(1_u8, Some(7_u32)); choices.below(40)]),
        _ => return refuse_late_nonsense(out.send_timeout(&(), Duration::ZERO)),
    };
    refuse_nonsense(outcome.map(drop));
}

/// What a segment's bytes cannot be blamed for.
fn refuse_nonsense(outcome: Result<(), TrySendError>) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
        let is_ours =
            matches!(error, TrySendError::TooLarge { .. } | TrySendError::Unserializable(_));
        assert!(!is_ours || matches!(error, TrySendError::TooLarge { limit, .. } if limit < 2048));
    }
}

/// The same of a send with a timeout.
fn refuse_late_nonsense(outcome: Result<u64, SendTimeoutError>) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
        let is_ours = matches!(
            error,
            SendTimeoutError::TooLarge { .. } | SendTimeoutError::Unserializable(_)
        );
        assert!(
            !is_ours || matches!(error, SendTimeoutError::TooLarge { limit, .. } if limit < 2048)
        );
    }
}

fn receive(inbox: &mut Subscriber<String>, choices: &mut Choices<'_>) {
    let outcome = match choices.below(8) {
        0..3 => inbox.try_recv().map(|text| dispose(text, choices)),
        3 => inbox.try_drain().map(|batch| {
            assert!((1..=256).contains(&batch.len()));
            batch.iter().for_each(|text| read(text));
            black_box(format!("{batch:?}"));
        }),
        4 => inbox.try_recv_copied().map(|text| {
            read(&text);
            black_box(text.to_string());
        }),
        5 => inbox.try_recv_where(|text| text.len() % 2 == 0).map(|text| dispose(text, choices)),
        6 => {
            let late = inbox.recv_timeout(Duration::ZERO).map(|text| dispose(text, choices));
            return explain(late);
        }
        _ => {
            black_box((inbox.backlog(), format!("{inbox:?}")));
            black_box(packetring::try_select(&mut [inbox]));
            Ok(())
        }
    };
    explain(outcome);
}

fn dispose(text: Received<'_, String>, choices: &mut Choices<'_>) {
    read(&text);
    black_box(Received::info(&text));
    match choices.below(6) {
        0 => Received::unreceive(text),
        1 => std::mem::forget(text),
        2 => drop(black_box(Received::unpack(text).unwrap())),
        _ => drop(text),
    }
}

fn receive_mixed(inbox: &mut AnySubscriber, choices: &mut Choices<'_>) {
    let outcome = inbox.try_recv().map(|mail| {
        black_box((mail.type_name(), mail.info(), format!("{mail:?}")));
        explain(mail.open_as::<String>().map(|text| read(text)));
        explain(mail.open_as::<u64>().map(|number| assert!(black_box(*number) >= 0)));
        explain(mail.open_as::<Vec<(u8, Option<u32>)>>().map(|list| {
            black_box(list.iter().filter(|pair| pair.1.is_some()).count());
        }));
        match choices.below(3) {
            0 => mail.unreceive(),
            1 => std::mem::forget(mail),
            _ => drop(mail),
        }
    });
    explain(outcome);
    black_box(inbox.backlog());
}

fn read(text: &str) {
    black_box(text.chars().rev().count());
}

fn explain<E: std::fmt::Display>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}

/// A stage as [`attach`](super::attach) uses it, once attached.
pub(crate) fn use_attached(stage: &Stage, ring: &Ring, choices: &mut Choices<'_>) {
    let mut crew = Crew::default();
    ask(ring, &mut Choices::new(&[0]));
    for _ in 0..MOST / 4 {
        crew.act(ring, choices);
    }
    // What was there before, read to its end; then more than the ring can hold.
    for inbox in &mut crew.ins {
        (0..8).for_each(|_| {
            explain(inbox.try_drain().map(|batch| batch.iter().for_each(|t| read(t))))
        });
    }
    if let Some(out) = crew.outs.first_mut() {
        let laps = 2 * stage.layout.capacity;
        (0..laps).for_each(|_| refuse_nonsense(out.try_send(&String::new()).map(drop)));
    }
}
