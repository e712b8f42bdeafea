//! Aeron IPC, with its C client and its C media driver; both sides spin.
//!
//! - Settings: all defaults except the directory. The defaults are an exclusive publication, terms
//!   of 64 MiB, and a dedicated driver that backs off when idle. The driver runs in a third
//!   process.
//! - Build: the crates of client and driver use `-march=native`, unlike all other peers.
//! - Records: `offer` copies a record in. `poll` of the image reads in place: one fragment for a
//!   single record, up to [`MOST`] for a batch. There is no call to send a batch.
//!
//! The driver and the thread of the client are not pinned. On a machine with two cores they share
//! them with the two sides.

use crate::record::Record;
use crate::tally::Tally;
use crate::transport::{self, Failure, MOST, Transport, spin};
use crate::way::Way;
use rusteron_client::{
    AERON_IPC_STREAM, AeronExclusivePublication, AeronImage, AeronSubscription, Handlers,
};
use rusteron_media_driver::{AeronDriver, AeronDriverContext, IntoCString};
use std::slice;
use std::thread::sleep;
use std::time::Duration;

/// Longest wait for the driver.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Aeron;

/// A sending end, and the client that keeps it alive.
pub(crate) struct Publication {
    publication: AeronExclusivePublication,
    _client: rusteron_client::Aeron,
}

/// A receiving end, and the client that keeps it alive.
pub(crate) struct Image {
    image: AeronImage,
    _subscription: AeronSubscription,
    _client: rusteron_client::Aeron,
}

/// Runs the media driver until the process is killed.
pub(crate) fn drive(way: &Way) -> Result<(), Failure> {
    let directory = format!("/dev/shm/aeron-{}", way.name());
    let context = AeronDriverContext::new()?;
    context.set_dir_delete_on_start(true)?;
    context.set_dir(&directory.as_str().into_c_string())?;
    let (_stop, driver) = AeronDriver::launch_embedded(context, false);
    way.of_case().post("driver", &directory)?;
    while !driver.is_finished() {
        sleep(Duration::from_millis(100));
    }
    Err("media driver ended".into())
}

fn client(way: &Way) -> Result<rusteron_client::Aeron, Failure> {
    let directory = way.of_case().wait_for("driver")?;
    // The driver needs a moment until its directory can be used.
    let client =
        way.wait_until("driver's start", || rusteron_client::Aeron::connect_dir(&directory).ok());
    Ok(client?)
}

/// A stream for each direction.
fn stream(way: &Way) -> i32 {
    if way.is_back() { 1002 } else { 1001 }
}

impl Transport for Aeron {
    type Sender<R: Record> = Publication;
    type Receiver<R: Record> = Image;

    fn sender<R: Record>(way: &Way) -> Result<Publication, Failure> {
        let client = client(way)?;
        let stream = stream(way);
        let publication = client.add_exclusive_publication(AERON_IPC_STREAM, stream, TIMEOUT)?;
        way.wait_until("subscription", || publication.is_connected().then_some(()))?;
        Ok(Publication { publication, _client: client })
    }

    fn receiver<R: Record>(way: &Way) -> Result<Image, Failure> {
        let client = client(way)?;
        let (stream, none) = (stream(way), Handlers::NONE);
        let subscription =
            client.add_subscription(AERON_IPC_STREAM, stream, none, Handlers::NONE, TIMEOUT)?;
        let image = way.wait_until("image", || subscription.image_at_index(0))?;
        Ok(Image { image, _subscription: subscription, _client: client })
    }
}

impl<R: Record> transport::Sender<R> for Publication {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        // SAFETY: a record consists of words, without padding.
        let bytes = unsafe { slice::from_raw_parts((&raw const *record).cast(), size_of::<R>()) };
        spin(|| match self.publication.offer(bytes) {
            Ok(_) => Some(Ok(())),
            Err(error) if error.is_retryable() => None,
            Err(error) => Some(Err(error.into())),
        })
    }

    #[inline]
    fn send_batch(&mut self, records: &[R]) -> Result<(), Failure> {
        records.iter().try_for_each(|record| self.send(record))
    }
}

impl<R: Record> transport::Receiver<R> for Image {
    #[inline]
    fn receive(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        self.poll::<R>(1, tally)
    }

    #[inline]
    fn receive_batch(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        self.poll::<R>(MOST, tally)
    }
}

impl Image {
    #[inline]
    fn poll<R: Record>(&mut self, most: usize, tally: &mut Tally) -> Result<(), Failure> {
        let mut is_wrong_length = false;
        spin(|| {
            let polled = self.image.poll_fn(
                |bytes, _header| {
                    if bytes.len() != size_of::<R>() {
                        is_wrong_length = true;
                        return;
                    }
                    // SAFETY: there are as many bytes as in a record, and every bit pattern is a
                    // valid record, because a record consists of words.
                    tally.take(unsafe { bytes.as_ptr().cast::<R>().read_unaligned() }.sequence());
                },
                most,
            );
            polled.map(|count| (count > 0).then_some(())).transpose()
        })?;
        if is_wrong_length { Err("received a record of wrong length".into()) } else { Ok(()) }
    }
}
