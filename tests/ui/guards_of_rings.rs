//! A guard borrows its endpoint mutably: there is no second one while it lives.

use packetring::any::{AnyBatch, AnyPublisher, AnySubscriber};
use packetring::board::{BoardReader, CellId};
use packetring::{Publisher, Subscriber, Tail};

fn received(numbers: &mut Subscriber<u64>) {
    let first = numbers.recv().unwrap();
    let second = numbers.recv().unwrap();
    assert!(*first < *second);
}

fn copied(numbers: &mut Subscriber<u64>) {
    let first = numbers.recv_copied().unwrap();
    let second = numbers.recv_copied().unwrap();
    assert!(*first < *second);
}

fn batch(numbers: &mut Subscriber<u64>) {
    let batch = numbers.drain().unwrap();
    let next = numbers.recv().unwrap();
    assert!(batch[0] < *next);
}

fn values(numbers: &mut Subscriber<u64>) {
    let mut values = numbers.values();
    let next = numbers.recv().unwrap();
    assert!(values.next().unwrap().unwrap() < next.to_native());
}

fn reserved(numbers: &mut Publisher<u64>) {
    let mut number = numbers.reserve().unwrap();
    numbers.send(&1).unwrap();
    *number = 2.into();
}

fn reserved_tail(lines: &mut Publisher<Tail<u64, u8>>) {
    let mut line = lines.reserve_tail(5).unwrap();
    let _other = lines.reserve_tail(5);
    line.tail_mut().fill(0);
}

fn reserved_by_any(packets: &mut AnyPublisher) {
    let mut number = packets.reserve::<u64>().unwrap();
    packets.send(&1_u64).unwrap();
    *number = 2.into();
}

fn burst(numbers: &mut Publisher<u64>) {
    let mut burst = numbers.burst(16).unwrap();
    numbers.send(&1).unwrap();
    burst.send(&2).unwrap();
}

fn burst_that_is_dropped_late(numbers: &mut Publisher<u64>) {
    let _burst = numbers.burst(16).unwrap();
    numbers.send(&1).unwrap();
}

fn burst_of_any(packets: &mut AnyPublisher) {
    let mut burst = packets.burst::<u64>(16).unwrap();
    packets.send(&1_u64).unwrap();
    burst.send(&2).unwrap();
}

fn burst_outlives(mut numbers: Publisher<u64>) {
    let mut burst = numbers.burst(16).unwrap();
    drop(numbers);
    burst.send(&1).unwrap();
}

fn any_received(packets: &mut AnySubscriber) {
    let first = packets.recv().unwrap();
    let second = packets.recv().unwrap();
    assert_eq!(first.type_name(), second.type_name());
}

fn any_batch(packets: &mut AnySubscriber) {
    let batch = packets.drain().unwrap();
    let next = packets.recv().unwrap();
    assert_eq!(batch.len(), next.type_name().len());
}

fn any_packet(batch: AnyBatch<'_>) {
    let packet = batch.get(0).unwrap();
    drop(batch);
    assert!(packet.open_as::<u64>().is_ok());
}

fn opened(packets: &mut AnySubscriber) {
    let packet = packets.recv().unwrap();
    let number = packet.open_as::<u64>().unwrap();
    packet.unreceive();
    assert_eq!(*number, 7);
}

fn cell_value(rates: &mut BoardReader<u64>) {
    let first = rates.read("a").unwrap();
    let second = rates.read("b").unwrap();
    assert!(*first < *second);
}

fn cell_change(rates: &mut BoardReader<u64>, cell: CellId) {
    let change = rates.change_of(cell).unwrap();
    let value = rates.read(&cell).unwrap();
    assert_eq!(*value, 7);
    drop(change);
}

fn outlived(mut numbers: Subscriber<u64>) {
    let number = numbers.recv().unwrap();
    drop(numbers);
    assert_eq!(*number, 7);
}

fn main() {}
