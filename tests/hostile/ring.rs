//! Live endpoints, with a peer that writes into their segment between their operations.

use super::segment::{KINDS, TestSegment, TestSegments};
use super::{Choices, damage};
use packetring::any::{AnyPublisher, AnySubscriber};
use packetring::{
    OpenError, Publisher, Received, Ring, SendTimeoutError, Subscriber, Tail, TrySendError,
};
use std::cell::RefCell;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

/// Limit of the operations of a case.
const MAX_OPERATIONS: usize = 32;
/// Limit of the endpoints of each kind.
const MAX_ENDPOINTS: usize = 3;

/// Runs one case.
pub(crate) fn run(data: &[u8]) {
    thread_local! {
        static SEGMENTS: RefCell<TestSegments> = RefCell::default();
    }
    SEGMENTS.with_borrow_mut(|segments| {
        let mut choices = Choices::new(data);
        let segment = segments.restored(choices.below(KINDS));
        let mut endpoints = Endpoints::default();
        for _ in 0..MAX_OPERATIONS {
            if choices.are_over() {
                break;
            }
            match choices.below(5) {
                0 | 1 if !choices.one_in(16) => damage::damage_contents(segment, &mut choices),
                0 | 1 => damage::damage_any(segment, &mut choices),
                _ => endpoints.act(&segment.ring, &mut choices),
            }
        }
        // Leaves an endpoint, then damages the remaining state before the others are dropped.
        drop(endpoints.publishers.pop());
        damage::damage_contents(segment, &mut choices);
    });
}

/// Endpoints of one ring.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    publishers: Vec<Publisher<String>>,
    any_publishers: Vec<AnyPublisher>,
    tails: Vec<Publisher<Tail<u64, u8>>>,
    subscribers: Vec<Subscriber<String>>,
    any_subscribers: Vec<AnySubscriber>,
}

impl Endpoints {
    /// Does one operation. Its result must be usable.
    pub(crate) fn act(&mut self, ring: &Ring, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0 | 1 => self.join(ring, choices),
            2 => query(ring, choices),
            3 => self.leave(choices),
            4..7 => self.publish(ring, choices),
            _ => self.receive(ring, choices),
        }
    }

    fn join(&mut self, ring: &Ring, choices: &mut Choices<'_>) {
        match choices.below(8) {
            0 | 1 => add(&mut self.publishers, ring.publisher()),
            2 => add(&mut self.any_publishers, ring.any_publisher()),
            3 | 4 => add(&mut self.subscribers, ring.subscriber()),
            5 => add(&mut self.subscribers, ring.durable("shop")),
            6 => add(&mut self.any_subscribers, ring.any_subscriber()),
            _ => add(&mut self.any_subscribers, ring.any_durable("shop")),
        }
    }

    fn leave(&mut self, choices: &mut Choices<'_>) {
        match choices.below(4) {
            0 => drop(self.publishers.pop()),
            1 => drop(self.any_publishers.pop()),
            2 => drop(self.subscribers.pop()),
            _ => drop(self.any_subscribers.pop()),
        }
    }

    fn publish(&mut self, ring: &Ring, choices: &mut Choices<'_>) {
        if self.publishers.is_empty() {
            add(&mut self.publishers, ring.publisher());
        }
        if let (true, Some(any)) = (choices.one_in(4), self.any_publishers.first_mut()) {
            return send_any(any, choices);
        }
        let which = choices.below(MAX_ENDPOINTS);
        if let Some(publisher) = self.publishers.get_mut(which) {
            send(publisher, choices);
        }
        if choices.one_in(8)
            && let Some(publisher) = self.publishers.get(which)
        {
            let clone = publisher.try_clone();
            add(&mut self.publishers, clone);
        }
    }

    fn receive(&mut self, ring: &Ring, choices: &mut Choices<'_>) {
        if self.subscribers.is_empty() {
            add(&mut self.subscribers, ring.subscriber());
        }
        if let (true, Some(any)) = (choices.one_in(4), self.any_subscribers.first_mut()) {
            return receive_any(any, choices);
        }
        let which = choices.below(MAX_ENDPOINTS);
        if let Some(subscriber) = self.subscribers.get_mut(which) {
            receive(subscriber, choices);
        }
        if choices.one_in(8)
            && let Some(subscriber) = self.subscribers.get_mut(which)
        {
            let clone = subscriber.try_clone();
            add(&mut self.subscribers, clone);
        }
    }
}

fn add<E>(list: &mut Vec<E>, joined: Result<E, OpenError>) {
    match joined {
        Ok(endpoint) if list.len() < MAX_ENDPOINTS => list.push(endpoint),
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Runs a query or a management operation on the ring.
pub(crate) fn query(ring: &Ring, choices: &mut Choices<'_>) {
    match choices.below(9) {
        0 | 1 => assert!(ring.types().len() <= 64),
        2 => assert!(ring.subscribers() <= ring.settings().max_subscribers),
        3 => drop(black_box(ring.remove_durable("shop"))),
        4 => drop(black_box(Ring::attach(ring.name()))),
        5 => drop(black_box(Ring::remove(ring.name()))),
        6 if choices.one_in(8) => drop(black_box(ring.close())),
        7 => drop(black_box(ring.sample_latency(NonZeroU32::new(choices.pick(&[0, 1, 1, 5]))))),
        _ => drop(black_box(format!("{ring:?}"))),
    }
}

fn send(publisher: &mut Publisher<String>, choices: &mut Choices<'_>) {
    let text = "é".repeat(choices.pick(&[0, 3, 4, 20, 100, 400, 900]));
    let outcome = match choices.below(7) {
        6 => send_burst(publisher, &text, choices),
        0..3 => publisher.try_send(&text).map(drop),
        3 => {
            let texts = vec![text; 1 + choices.below(5)];
            publisher.try_send_all(&texts).map_err(|error| error.source)
        }
        4 => return check_send_timeout_error(publisher.send_timeout(&text, Duration::ZERO)),
        _ => {
            black_box((publisher.backlog(), publisher.subscribers(), format!("{publisher:?}")));
            publisher.try_wait_for_subscribers(choices.below(3))
        }
    };
    check_send_error(outcome);
}

/// Sends up to eight packets in a burst, which is then dropped or forgotten.
fn send_burst(
    publisher: &mut Publisher<String>,
    text: &String,
    choices: &mut Choices<'_>,
) -> Result<(), TrySendError> {
    let mut burst = publisher.try_burst(choices.pick(&[0, 1, 3, 8, usize::MAX]))?;
    black_box(format!("{burst:?}"));
    let count = choices.below(8);
    let sent = (0..count).try_for_each(|_| burst.try_send(text).map(drop));
    if choices.one_in(2) {
        std::mem::forget(burst);
    }
    sent
}

fn send_any(publisher: &mut AnyPublisher, choices: &mut Choices<'_>) {
    let outcome = match choices.below(4) {
        0 => publisher.try_send(&choices.word()),
        1 => publisher.try_send(&"text".repeat(20)),
        2 => publisher.try_send(&vec![(1_u8, Some(7_u32)); choices.below(40)]),
        _ => return check_send_timeout_error(publisher.send_timeout(&(), Duration::ZERO)),
    };
    check_send_error(outcome.map(drop));
}

/// Rejects errors that damaged bytes cannot cause.
fn check_send_error(outcome: Result<(), TrySendError>) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
        let is_ours =
            matches!(error, TrySendError::TooLarge { .. } | TrySendError::Unserializable(_));
        assert!(!is_ours || matches!(error, TrySendError::TooLarge { limit, .. } if limit < 2048));
    }
}

/// [`check_send_error`] for a send with a timeout.
fn check_send_timeout_error(outcome: Result<u64, SendTimeoutError>) {
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

fn receive(subscriber: &mut Subscriber<String>, choices: &mut Choices<'_>) {
    let outcome = match choices.below(8) {
        0..3 => subscriber.try_recv().map(|text| dispose(text, choices)),
        3 => subscriber.try_drain().map(|batch| {
            assert!((1..=256).contains(&batch.len()));
            batch.iter().for_each(|text| read(text));
            black_box(format!("{batch:?}"));
        }),
        4 => subscriber.try_recv_copied().map(|text| {
            read(&text);
            black_box(text.to_string());
        }),
        5 => {
            subscriber.try_recv_where(|text| text.len() % 2 == 0).map(|text| dispose(text, choices))
        }
        6 => {
            let late = subscriber.recv_timeout(Duration::ZERO).map(|text| dispose(text, choices));
            return check_error(late);
        }
        _ => {
            black_box((subscriber.backlog(), format!("{subscriber:?}")));
            black_box(packetring::try_select(&mut [subscriber]));
            Ok(())
        }
    };
    check_error(outcome);
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

fn receive_any(subscriber: &mut AnySubscriber, choices: &mut Choices<'_>) {
    let outcome = subscriber.try_recv().map(|packet| {
        black_box((packet.type_name(), packet.info(), format!("{packet:?}")));
        check_error(packet.open_as::<String>().map(|text| read(text)));
        check_error(packet.open_as::<u64>().map(|number| assert!(black_box(*number) >= 0)));
        check_error(packet.open_as::<Vec<(u8, Option<u32>)>>().map(|list| {
            black_box(list.iter().filter(|pair| pair.1.is_some()).count());
        }));
        match choices.below(3) {
            0 => packet.unreceive(),
            1 => std::mem::forget(packet),
            _ => drop(packet),
        }
    });
    check_error(outcome);
    black_box(subscriber.backlog());
}

fn read(text: &str) {
    black_box(text.chars().rev().count());
}

fn check_error<E: std::fmt::Display>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}

/// Uses a ring that [`attach`](super::attach) attached to.
pub(crate) fn use_attached(segment: &TestSegment, ring: &Ring, choices: &mut Choices<'_>) {
    let mut endpoints = Endpoints::default();
    query(ring, &mut Choices::new(&[0]));
    for _ in 0..MAX_OPERATIONS / 4 {
        endpoints.act(ring, choices);
    }
    // Reads the old packets to the end, then publishes more than the ring can hold.
    for subscriber in &mut endpoints.subscribers {
        (0..8).for_each(|_| {
            check_error(subscriber.try_drain().map(|batch| batch.iter().for_each(|t| read(t))))
        });
    }
    if let Some(publisher) = endpoints.publishers.first_mut() {
        let laps = 2 * segment.layout.capacity;
        (0..laps).for_each(|_| check_send_error(publisher.try_send(&String::new()).map(drop)));
    }
}
