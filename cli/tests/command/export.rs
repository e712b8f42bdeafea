//! `export`: OpenMetrics as text, in a file and by HTTP.

use crate::support::{Prefix, Running, command, run};
use insta::assert_snapshot;
use packetring::Worker;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

#[test]
fn figures_are_printed_and_written() {
    let prefix = Prefix::new();
    let ring = prefix.ring().capacity(1024).open("orders").unwrap();
    let (mut out, _idle) = (ring.publisher::<u64>().unwrap(), ring.subscriber::<u64>().unwrap());
    for number in 0..3 {
        out.send(&number).unwrap();
    }
    let worker = Worker::builder().prefix(&prefix.0).join("a \"b\"", "web").unwrap();
    let ran = run(&["export", "--prefix", &prefix.0]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""));
    let filters = [(
        r"(object_bytes|sleeps_total|parks_total|wakes_total|seconds_total|notifications_total)(\{.*\}) [0-9.]+",
        "$1$2 N",
    )];
    insta::with_settings!({ filters => filters }, {
        assert_snapshot!(prefix.redact(&ran.out), @r#"
        # TYPE packetring_object_bytes gauge
        # UNIT packetring_object_bytes bytes
        # HELP packetring_object_bytes Size of the object in shared memory.
        packetring_object_bytes{object="P:a \"b\"/directory",kind="directory"} N
        packetring_object_bytes{object="P:orders",kind="ring"} N
        # TYPE packetring_object_in_use gauge
        # HELP packetring_object_in_use 1 if a living process is attached.
        packetring_object_in_use{object="P:a \"b\"/directory",kind="directory"} 1
        packetring_object_in_use{object="P:orders",kind="ring"} 1
        # TYPE packetring_endpoints gauge
        # HELP packetring_endpoints Endpoints of the object by their state.
        packetring_endpoints{object="P:orders",kind="ring",state="writer"} 1
        packetring_endpoints{object="P:orders",kind="ring",state="reader"} 1
        packetring_endpoints{object="P:orders",kind="ring",state="dead"} 0
        packetring_endpoints{object="P:orders",kind="ring",state="away"} 0
        # TYPE packetring_ring_slots gauge
        # HELP packetring_ring_slots Slots of 64 bytes of the ring.
        packetring_ring_slots{object="P:orders",kind="ring"} 16
        # TYPE packetring_ring_free_slots gauge
        # HELP packetring_ring_free_slots Slots that publishers can claim now.
        packetring_ring_free_slots{object="P:orders",kind="ring"} 13
        # TYPE packetring_ring_claimed_slots counter
        # HELP packetring_ring_claimed_slots Slots that publishers claimed.
        packetring_ring_claimed_slots_total{object="P:orders",kind="ring"} 3
        # TYPE packetring_ring_notifications counter
        # HELP packetring_ring_notifications Notifications of sleepers.
        packetring_ring_notifications_total{object="P:orders",kind="ring",side="readers"} N
        packetring_ring_notifications_total{object="P:orders",kind="ring",side="writers"} N
        # TYPE packetring_ring_sleeps counter
        # HELP packetring_ring_sleeps Endpoints that were about to sleep.
        packetring_ring_sleeps_total{object="P:orders",kind="ring",side="readers"} N
        packetring_ring_sleeps_total{object="P:orders",kind="ring",side="writers"} N
        # TYPE packetring_backlog_slots gauge
        # HELP packetring_backlog_slots Slots that a reader has ahead.
        packetring_backlog_slots{object="P:orders",kind="ring",reader="subscriber 0",worker=""} 3
        # TYPE packetring_backlog_packets gauge
        # HELP packetring_backlog_packets Packets that a reader has ahead.
        packetring_backlog_packets{object="P:orders",kind="ring",reader="subscriber 0",worker=""} 3
        # TYPE packetring_missed_packets counter
        # HELP packetring_missed_packets Packets that a reader lost.
        packetring_missed_packets_total{object="P:orders",kind="ring",reader="subscriber 0",worker=""} 0
        # TYPE packetring_worker_alive gauge
        # HELP packetring_worker_alive 1 if the worker lives.
        packetring_worker_alive{prefix="P",cluster="a \"b\"",worker="web",id="0"} 1
        # TYPE packetring_endpoint_packets counter
        # HELP packetring_endpoint_packets Packets that the endpoint sent, or received and released.
        packetring_endpoint_packets_total{object="P:orders",kind="ring",role="publisher",endpoint="publisher 0",worker=""} 3
        packetring_endpoint_packets_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} 0
        # TYPE packetring_endpoint_bytes counter
        # UNIT packetring_endpoint_bytes bytes
        # HELP packetring_endpoint_bytes Bytes of these packets in the ring: whole slots of 64 bytes.
        packetring_endpoint_bytes_total{object="P:orders",kind="ring",role="publisher",endpoint="publisher 0",worker=""} 192
        packetring_endpoint_bytes_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} 0
        # TYPE packetring_endpoint_full_claims counter
        # HELP packetring_endpoint_full_claims Claims of the publisher that found no room.
        packetring_endpoint_full_claims_total{object="P:orders",kind="ring",role="publisher",endpoint="publisher 0",worker=""} 0
        # TYPE packetring_endpoint_evicted_packets counter
        # HELP packetring_endpoint_evicted_packets Packets that the publisher evicted, for each reader; or that a reader lost by this.
        packetring_endpoint_evicted_packets_total{object="P:orders",kind="ring",role="publisher",endpoint="publisher 0",worker=""} 0
        packetring_endpoint_evicted_packets_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} 0
        # TYPE packetring_endpoint_missed_packets counter
        # HELP packetring_endpoint_missed_packets Evicted packets that the reader was told of.
        packetring_endpoint_missed_packets_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} 0
        # TYPE packetring_endpoint_skipped_packets counter
        # HELP packetring_endpoint_skipped_packets Packets that the reader passed over on its way to the newest one.
        packetring_endpoint_skipped_packets_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} 0
        # TYPE packetring_endpoint_redelivered_packets counter
        # HELP packetring_endpoint_redelivered_packets Deliveries of packets that were handed out before.
        packetring_endpoint_redelivered_packets_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} 0
        # TYPE packetring_endpoint_parks counter
        # HELP packetring_endpoint_parks Sleeps in the kernel.
        packetring_endpoint_parks_total{object="P:orders",kind="ring",role="publisher",endpoint="publisher 0",worker=""} N
        packetring_endpoint_parks_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} N
        # TYPE packetring_endpoint_blocked_seconds counter
        # UNIT packetring_endpoint_blocked_seconds seconds
        # HELP packetring_endpoint_blocked_seconds Time in these sleeps: a publisher for room, a reader for packets.
        packetring_endpoint_blocked_seconds_total{object="P:orders",kind="ring",role="publisher",endpoint="publisher 0",worker=""} N
        packetring_endpoint_blocked_seconds_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} N
        # TYPE packetring_endpoint_wakes counter
        # HELP packetring_endpoint_wakes Calls of the kernel that woke a sleeper.
        packetring_endpoint_wakes_total{object="P:orders",kind="ring",role="publisher",endpoint="publisher 0",worker=""} N
        packetring_endpoint_wakes_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} N
        # TYPE packetring_endpoint_recoveries counter
        # HELP packetring_endpoint_recoveries Entries of dead endpoints that the endpoint cleared.
        packetring_endpoint_recoveries_total{object="P:orders",kind="ring",role="publisher",endpoint="publisher 0",worker=""} 0
        packetring_endpoint_recoveries_total{object="P:orders",kind="ring",role="subscriber",endpoint="subscriber 0",worker=""} 0
        # EOF
        "#);
    });

    let file = std::env::temp_dir().join(format!("packetring-export-{}.prom", prefix.0));
    let ran = run(&["export", "--prefix", &prefix.0, "--to", file.to_str().unwrap()]);
    assert_eq!((ran.status, ran.out.as_str()), (0, ""));
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.ends_with("# EOF\n") && written.contains("packetring_ring_slots"), "{written}");
    std::fs::remove_file(&file).unwrap();
    let ran = run(&["export", "--to", "/no/such/folder/x.prom"]);
    assert_eq!(ran.status, 1);
    worker.leave().unwrap();
}

#[test]
fn figures_are_served() {
    let prefix = Prefix::new();
    let _ring = prefix.ring().capacity(1024).open("orders").unwrap();
    let mut server = command(&["export", "--listen", "127.0.0.1:0", "--prefix", &prefix.0]);
    let mut server = Running::start(server.stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("serving http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap();
    let ask = |request: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    // A client that says nothing and leaves does not end the server.
    drop(TcpStream::connect(address).unwrap());
    let answer = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("# EOF\n"), "{answer}");
    assert!(answer.contains(&format!("packetring_ring_slots{{object=\"{}:orders\"", prefix.0)));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    assert!(ask("GET /x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
}
