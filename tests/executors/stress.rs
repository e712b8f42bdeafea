//! A thousand endpoints in one process, awaited and dropped at random, while publishers run.

use super::{LONG, unique};
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use packetring::{RecvError, Ring};
use std::pin::pin;
use std::time::Duration;

const RINGS: usize = 25;
const READERS: usize = 40;
const PACKETS: u64 = 400;

/// Threads of the reactor in this process.
fn reactors() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let comm = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.map(Result::unwrap).filter_map(comm);
    names.filter(|name| name.trim() == "packetring-wait").count()
}

#[test]
fn a_thousand_readers_with_random_cancellations_lose_nothing() {
    let rings: Vec<Ring> = (0..RINGS)
        .map(|_| {
            let settings = Ring::builder().capacity(1 << 14).max_subscribers(READERS);
            settings.open(&unique("stress")).unwrap()
        })
        .collect();
    let mut readers = Vec::new();
    for ring in &rings {
        readers.extend((0..READERS).map(|_| ring.subscriber::<u64>().unwrap()));
    }
    let publishers: Vec<_> = rings.iter().map(|ring| ring.publisher::<u64>().unwrap()).collect();
    drop(rings);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for mut publisher in publishers {
            tokio::spawn(async move {
                for number in 0..PACKETS {
                    publisher.send_async(&number).await.unwrap();
                    if number % 64 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        let mut all: FuturesUnordered<_> = readers
            .into_iter()
            .enumerate()
            .map(|(seed, mut reader)| {
                tokio::spawn(async move {
                    let (mut next, mut noise) = (0, seed as u64);
                    loop {
                        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        if noise >> 62 == 0 {
                            // Dropped after one poll, or when the time is over.
                            let short = tokio::time::sleep(Duration::from_micros(noise >> 56));
                            let receiving = pin!(reader.recv_async());
                            match select(receiving, pin!(short)).await {
                                Either::Left((received, _)) => match received {
                                    Ok(number) => {
                                        assert_eq!(*number, next);
                                        next += 1;
                                    }
                                    Err(RecvError::Closed) => break next,
                                    Err(error) => panic!("{error}"),
                                },
                                Either::Right(_) => {}
                            }
                            continue;
                        }
                        match reader.recv_async().await {
                            Ok(number) => {
                                assert_eq!(*number, next);
                                next += 1;
                            }
                            Err(RecvError::Closed) => break next,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        while let Some(count) = tokio::time::timeout(4 * LONG, all.next()).await.unwrap() {
            assert_eq!(count.unwrap(), PACKETS);
        }
    });
    drop(runtime);
    // Other tests of this process run meanwhile.
    assert!(reactors() < RINGS * READERS / 127 + 8);
}
