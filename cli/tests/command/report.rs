//! `report`: figures of a recording on a page, hostile names, damaged files, and a browser.

use crate::support::{Folder, Prefix, run};
use packetring::{Worker, packet};
use serde_json::Value;
use std::process::Command;

#[packet]
struct Sold {
    article: String,
}

/// CRC-32, as the format documents it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A file with entries that no recorder writes.
#[derive(Default)]
struct Written {
    entries: Vec<u8>,
}

impl Written {
    fn text(mut self, text: &str) -> Self {
        self.entries.extend((text.len() as u32).to_le_bytes());
        self.entries.extend(text.as_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.entries.extend(bytes);
        self
    }

    fn stream(self, id: u16, name: &str) -> Self {
        self.bytes(&[1]).bytes(&id.to_le_bytes()).text(name).text("ring")
    }

    fn packet_type(self, id: u16, name: &str) -> Self {
        let head = self.bytes(&[2]).bytes(&id.to_le_bytes());
        head.bytes(&7_u128.to_le_bytes()).text(name).text("{}")
    }

    fn packet(self, kind: u16, time: u64, sender: u16, bytes: &str) -> Self {
        let head = self.bytes(&[3]).bytes(&0_u16.to_le_bytes()).bytes(&kind.to_le_bytes());
        let head = head.bytes(&time.to_le_bytes()).bytes(&0_u64.to_le_bytes());
        head.bytes(&sender.to_le_bytes()).text("").text(bytes)
    }

    fn gap(self, time: u64, slots: u64) -> Self {
        let head = self.bytes(&[4, 0, 0]).bytes(&time.to_le_bytes());
        head.bytes(&slots.to_le_bytes())
    }

    fn removed(self, time: u64) -> Self {
        self.bytes(&[5, 0, 0]).bytes(&time.to_le_bytes())
    }

    fn worker(self, time: u64, id: u16, name: &str) -> Self {
        self.bytes(&[6, 0, 0]).bytes(&time.to_le_bytes()).bytes(&id.to_le_bytes()).text(name)
    }

    fn sample(self, time: u64, numbers: [u64; 3], reader: &str, worker: &str) -> Self {
        let mut head =
            self.bytes(&[7, 0, 0]).bytes(&time.to_le_bytes()).bytes(&8_u32.to_le_bytes());
        for number in numbers {
            head = head.bytes(&number.to_le_bytes());
        }
        head.text(reader).text(worker)
    }

    fn save(self, file: &str) {
        let mut whole = b"PKTRREC1".to_vec();
        whole.extend((self.entries.len() as u32).to_le_bytes());
        whole.extend(crc32(&self.entries).to_le_bytes());
        whole.extend(self.entries);
        std::fs::write(file, whole).unwrap();
    }
}

/// The figures of a recording, and its page.
fn report(file: &str, folder: &Folder) -> (Value, String) {
    let page = folder.file("page.html");
    let ran = run(&["report", file, "--to", &page, "--json"]);
    assert_eq!((ran.status, ran.error.as_str()), (0, ""), "{ran:?}");
    (ran.result(), std::fs::read_to_string(page).unwrap())
}

const SECOND: u64 = 1_000_000_000;

/// Ten seconds of a ring that is slower in its second half, with a gap and two readers.
fn ten_seconds(start: u64) -> Written {
    let mut file = Written::default().stream(0, "prices").packet_type(0, "Price");
    file = file.packet_type(1, "Order");
    for number in 0..1500_u64 {
        // 200 a second, then 100 a second.
        let after = if number < 1000 { number * 5 } else { 5000 + (number - 1000) * 10 };
        let time = start + after * 1_000_000;
        let kind = u16::from(number % 5 == 4);
        file = file.packet(kind, time, number as u16 % 2, "12345678");
        if number % 150 == 0 {
            let lost = number / 10;
            file = file.sample(time, [number, 2 * number, 0], "subscriber 0", "billing");
            file = file.sample(time, [u64::MAX, 70, lost], "subscriber 1", "");
        }
        if number == 300 {
            file = file.worker(time, 0, "web").gap(time, 40);
        }
    }
    file.removed(start + 10 * SECOND)
}

#[test]
fn a_report_has_the_figures_of_the_recording() {
    let folder = Folder::new(&Prefix::new());
    let file = folder.file("a.rec");
    ten_seconds(1_796_051_045 * SECOND).save(&file);
    let (figures, page) = report(&file, &folder);
    assert_eq!(figures["from"], "2026-11-30 15:04:05 UTC");
    assert_eq!((&figures["seconds"], &figures["packets"]), (&10.0.into(), &1500.into()));
    assert_eq!((&figures["gaps"], &figures["gap_slots"]), (&1.into(), &40.into()));
    let ring = &figures["rings"][0];
    assert_eq!((&ring["name"], &ring["bytes"]), (&"prices".into(), &12_000.into()));
    assert_eq!(
        (&ring["packets_per_second"], &ring["removed_after_seconds"]),
        (&150.0.into(), &10.0.into())
    );
    let rates: Vec<_> =
        ring["packet_rates"].as_array().unwrap().iter().flat_map(Value::as_f64).collect();
    let bin = figures["bin_seconds"].as_f64().unwrap();
    let half = (5.0 / bin) as usize;
    assert!(rates[1..half].iter().all(|rate| (150.0..250.0).contains(rate)), "{rates:?}");
    let slow = &rates[half + 1..rates.len() - 1];
    assert!(!slow.is_empty() && slow.iter().all(|rate| (50.0..150.0).contains(rate)), "{rates:?}");
    let sum: f64 = rates[..rates.len() - 1].iter().map(|rate| rate * bin).sum();
    assert!((1490.0..1500.5).contains(&sum), "{sum}");
    let types: Vec<_> =
        ring["types"].as_array().unwrap().iter().map(|one| one["packets"].as_u64()).collect();
    assert_eq!(types, [Some(1200), Some(300)]);
    // Worker 0 got its name after its first packets, worker 1 none.
    let senders: Vec<_> =
        ring["senders"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(senders, ["web", "worker 1"]);
    assert_eq!(ring["senders"][0]["packets"], 750);
    let [first, second] = [&ring["readers"][0], &ring["readers"][1]];
    assert_eq!(first["name"], "subscriber 0 of billing, process 8");
    assert_eq!(
        (&first["unit"], &first["largest"], &first["samples"]),
        (&"slots".into(), &2700.into(), &10.into())
    );
    assert_eq!(
        (&second["unit"], &second["largest"], &second["lost"]),
        (&"slots".into(), &70.into(), &135.into())
    );
    // A rate without the packets of a gap says nothing about waits.
    assert_eq!(first["mean_wait_seconds"], Value::Null);
    let median = ring["between_packets"]["median"].as_f64().unwrap();
    assert!((0.005..0.0057).contains(&median), "{median}");
    for text in
        ["prices", "Order", "web", "subscriber 0 of billing", "1 gap of 40 slots", "</html>"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));

    let ran = run(&["report", &file, "--to", &folder.file("b.html")]);
    assert_eq!(ran.out, format!("1500 packets of 1 ring in {}\n", folder.file("b.html")));
}

#[test]
fn the_mean_wait_of_a_reader_is_backlog_by_rate() {
    let folder = Folder::new(&Prefix::new());
    let file = folder.file("w.rec");
    let mut written = Written::default().stream(0, "prices").packet_type(0, "Price");
    for number in 0..=100 {
        written = written.packet(0, number * SECOND / 10, u16::MAX, "x");
    }
    // The packets of one sample were not counted.
    for (second, packets) in [(1, 10), (2, 30), (3, u64::MAX)] {
        written = written.sample(second * SECOND, [packets, 40, 0], "subscriber 0", "");
    }
    written.save(&file);
    let reader = &report(&file, &folder).0["rings"][0]["readers"][0];
    assert_eq!((&reader["unit"], &reader["mean"]), (&"packets".into(), &20.0.into()));
    let wait = reader["mean_wait_seconds"].as_f64().unwrap();
    assert!((wait - 20.0 / 10.1).abs() < 1e-9, "{wait}");
}

#[test]
fn workers_and_readers_of_a_cluster_are_in_a_recording() {
    let (prefix, folder) = (Prefix::new(), Folder::new(&Prefix::new()));
    let [web, idle] =
        ["web", "idle"].map(|name| Worker::builder().prefix(&prefix.0).join("shop", name).unwrap());
    let (mut events, slow) = (web.events().unwrap(), idle.events().unwrap());
    for number in 0..30 {
        events.emit("sold", &Sold { article: format!("article {number}") }).unwrap();
    }
    let (file, name) = (folder.file("e.rec"), format!("{}:shop/events", prefix.0));
    let ran = run(&["record", &file, &name, "--backlog", "-n", "30"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let (figures, _) = report(&file, &folder);
    let ring = &figures["rings"][0];
    assert_eq!(
        (&ring["senders"][0]["name"], &ring["senders"][0]["packets"]),
        (&"web".into(), &30.into())
    );
    let readers = ring["readers"].as_array().unwrap();
    assert_eq!(readers.len(), 2, "{readers:?}");
    for reader in readers {
        assert_eq!((&reader["unit"], &reader["largest"]), (&"packets".into(), &30.into()));
    }
    drop((events, slow));
}

const SCRIPT: &str = "<script>document.title='taken'</script>";

#[test]
fn texts_of_a_recording_cannot_change_the_page() {
    let folder = Folder::new(&Prefix::new());
    let file = folder.file("hostile.rec");
    hostile().save(&file);
    let (figures, page) = report(&file, &folder);
    assert!(
        !page.contains("<script") && !page.contains("<img") && !page.contains('\u{1b}'),
        "{page}"
    );
    // The ring, the type, the worker and the reader have this name, as text.
    let named = page.matches("&lt;script&gt;document.title='taken'&lt;/script&gt;").count();
    assert!(named >= 4, "{named}: {page}");
    assert_eq!(figures["rings"][0]["types"][1]["name"], SCRIPT);
    assert_eq!(figures["rings"][0]["packets"], 2);
}

/// A recording with names that are markup, and numbers at their limits.
fn hostile() -> Written {
    let quote = "\" onload=\"alert(1)\u{1b}[2J";
    Written::default()
        .stream(0, SCRIPT)
        .stream(1, &format!("<img src=x onerror=alert(1)>{quote}"))
        .packet_type(0, SCRIPT)
        .packet_type(1, quote)
        .worker(0, 7, SCRIPT)
        .packet(0, u64::MAX, 7, "x")
        .packet(1, 0, 8, "")
        .sample(0, [u64::MAX - 1; 3], SCRIPT, quote)
        .gap(1, u64::MAX)
        .gap(1, u64::MAX)
        .removed(u64::MAX)
}

#[test]
fn a_damaged_recording_has_a_report_up_to_the_damage() {
    let folder = Folder::new(&Prefix::new());
    let (file, page) = (folder.file("d.rec"), folder.file("d.html"));
    ten_seconds(0).save(&file);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len();
    bytes.extend([0; 40]);
    std::fs::write(&file, &bytes).unwrap();
    let ran = run(&["report", &file, "--to", &page]);
    // As of `replay`.
    let replay = run(&["replay", &file, "--print"]);
    assert_eq!((ran.status, replay.status), (1, 1));
    let says = format!("damaged at byte {at}: the 40 bytes from there on were not read");
    assert!(ran.error.contains(&says) && replay.error.contains(&says), "{ran:?} {replay:?}");
    assert!(std::fs::read_to_string(&page).unwrap().contains(&says));

    std::fs::write(&file, &bytes[..at - 1]).unwrap();
    let ran = run(&["report", &file, "--to", &page]);
    assert!(ran.status == 0 && ran.out.contains("the block at byte 8 is not whole"), "{ran:?}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("no packet"));
    std::fs::write(&file, "something else").unwrap();
    let ran = run(&["report", &file, "--to", &page]);
    assert!(ran.status == 1 && ran.error.contains("this is no recording"), "{ran:?}");
}

#[test]
fn a_file_of_an_earlier_build_is_read() {
    let folder = Folder::new(&Prefix::new());
    let file = folder.file("old.rec");
    let old = Written::default().stream(0, "prices").packet_type(0, "Price");
    old.packet(0, 1, 3, "x").gap(2, 8).removed(3).save(&file);
    let (figures, page) = report(&file, &folder);
    let ring = &figures["rings"][0];
    assert_eq!((&ring["packets"], &ring["gap_slots"]), (&1.into(), &8.into()));
    assert_eq!(ring["senders"][0]["name"], "worker 3");
    assert!(page.contains("The recording has no sample of a reader."), "{page}");
    assert_eq!(run(&["replay", &file, "--print"]).out.lines().count(), 3);
}

#[test]
fn a_page_replaces_no_file_but_an_earlier_page() {
    let folder = Folder::new(&Prefix::new());
    let file = folder.file("a.rec");
    ten_seconds(0).save(&file);
    let before = std::fs::read(&file).unwrap();
    let other = folder.file("b.rec");
    std::fs::write(&other, &before).unwrap();
    let ran = run(&["report", &file, "--to", &other]);
    assert!(ran.status == 1 && ran.error.contains("is a recording"), "{ran:?}");
    let ran = run(&["report", &other, &file, "--to", &file, "--force"]);
    assert!(ran.status == 1 && ran.error.contains("one of the recordings to read"), "{ran:?}");
    assert_eq!(
        [&file, &other].map(|file| std::fs::read(file).unwrap()),
        [&before; 2].map(Vec::clone)
    );
    let page = folder.file("page.html");
    let report = ["report", &file, "--to", &page];
    for other in ["notes", "<!DOCTYPE html><title>packetring guide</title>"] {
        std::fs::write(&page, other).unwrap();
        let ran = run(&report);
        assert!(ran.status == 1 && ran.error.contains("no page of an earlier report"), "{ran:?}");
        assert!(ran.error.contains("--force"), "{}", ran.error);
        assert_eq!(std::fs::read_to_string(&page).unwrap(), other);
    }
    assert_eq!(run(&[&report[..], &["--force"]].concat()).status, 0);
    let whole = std::fs::read(&page).unwrap();
    // Over an earlier page, an empty file, and a device.
    assert_eq!(run(&report).status, 0);
    std::fs::write(&page, "").unwrap();
    assert_eq!(run(&report).status, 0);
    assert_eq!(std::fs::read(&page).unwrap(), whole);
    assert_eq!(run(&["report", &file, "--to", "/dev/null"]).status, 0);
    let ran = run(&["report", &file]);
    assert!(ran.status == 2 && ran.error.contains("--to page.html"), "{ran:?}");
}

/// Opens a page as a user does, and returns its elements, and where its picture is.
fn browse(page: &str, folder: &Folder) -> (String, String) {
    let picture = folder.file("page.png");
    let data = format!("--user-data-dir={}", folder.file("chromium"));
    let browse = |arguments: &[&str]| {
        let mut browser = Command::new("chromium");
        browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
        browser.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
        browser.args(["--disable-component-update", &data]).args(arguments);
        let ran = browser
            .arg(format!("file://{page}"))
            .output()
            .expect("this test needs the browser `chromium`: apt-get install chromium");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    let size = "--window-size=1100,1700";
    browse(&[&format!("--screenshot={picture}"), "--hide-scrollbars", size]);
    (browse(&["--dump-dom"]), picture)
}

#[test]
#[ignore = "needs the Debian package chromium: .ci/run installs it and runs this test"]
fn a_browser_shows_the_page() {
    let folder = Folder::new(&Prefix::new());
    let (file, page) = (folder.file("a.rec"), folder.file("page.html"));
    ten_seconds(1_796_051_045 * SECOND).save(&file);
    assert_eq!(run(&["report", &file, "--to", &page]).status, 0);
    let (elements, picture) = browse(&page, &folder);
    // The browser closed no element early and left none out.
    for text in [
        "<title>packetring report</title>",
        "class=\"line c1\"",
        "subscriber 0 of billing",
        "</footer></body></html>",
    ] {
        assert!(elements.contains(text), "{text}: {elements}");
    }
    let drawn = elements.matches("<svg").count();
    assert_eq!((drawn, elements.matches("</svg>").count()), (6, 6), "{elements}");
    let size = std::fs::metadata(&picture).unwrap().len();
    assert!(size > 30_000, "the picture has {size} bytes");
    if let Ok(kept) = std::env::var("PACKETRING_TEST_PICTURE") {
        std::fs::copy(&picture, kept).unwrap();
    }

    // No text of a recording is run.
    hostile().save(&file);
    assert_eq!(run(&["report", &file, "--to", &page]).status, 0);
    let (elements, _) = browse(&page, &folder);
    assert!(elements.contains("<title>packetring report</title>"), "{elements}");
    let mut tags = elements.split('<').skip(1).map(|tag| tag.split('>').next().unwrap());
    let taken = tags.find(|tag| tag.starts_with("script") || tag.contains("onload="));
    assert_eq!(taken, None, "{elements}");
    assert!(!elements.contains("<img"), "{elements}");
}
