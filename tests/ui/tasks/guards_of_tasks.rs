//! A stream borrows its subscriber mutably: nothing else receives while it lives.

use packetring::Subscriber;

fn stream(numbers: &mut Subscriber<u64>) {
    let stream = numbers.stream();
    let next = numbers.recv().unwrap();
    drop(stream);
    assert_eq!(*next, 7);
}

fn outlived(mut numbers: Subscriber<u64>) {
    let stream = numbers.stream();
    drop(numbers);
    drop(stream);
}

fn main() {}
