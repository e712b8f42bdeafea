//! First light.
use packetring::*;
#[packet]
#[derive(Debug, PartialEq, Clone)]
struct Chat {
    name: String,
    age: u32,
    desc: String,
}
fn go(ring: Ring) {
    let mut sub = ring.subscriber::<Chat>().unwrap();
    let mut publisher = ring.publisher::<Chat>().unwrap();
    let chat = |i: u32| Chat { name: format!("n{i}"), age: i, desc: "x".repeat(i as usize % 100) };
    for i in 0..10000u32 {
        publisher.send(&chat(i)).unwrap();
        let got = sub.recv().unwrap();
        assert_eq!(got.age, i);
        assert_eq!(Received::unpack(got).unwrap(), chat(i));
    }
    assert!(matches!(sub.try_recv(), Err(RecvError::Empty)));
    publisher.send_all(&(0..100).map(chat).collect::<Vec<_>>()).unwrap();
    let batch = sub.drain().unwrap();
    assert_eq!(batch.len(), 100);
    for (i, c) in (&batch).into_iter().enumerate() {
        assert_eq!(c.age, i as u32);
    }
    drop(batch);
    drop(publisher);
    assert!(matches!(sub.recv(), Err(RecvError::Closed)));
}
#[test]
fn heap() {
    for e in [false, true] {
        let mut b = Ring::builder().capacity(65536);
        if e {
            b = b.exclusive();
        }
        go(b.heap().unwrap());
    }
}
#[test]
fn mapped() {
    for e in [false, true] {
        let mut b = Ring::builder().capacity(65536);
        if e {
            b = b.exclusive();
        }
        go(b.open(&format!("smoke{}{e}", std::process::id())).unwrap());
    }
    assert!(std::fs::read_dir("/dev/shm").unwrap().all(|f| {
        !f.unwrap().file_name().to_string_lossy().contains(&format!("smoke{}", std::process::id()))
    }));
}
