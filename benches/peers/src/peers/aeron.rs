//! Aeron IPC, by its C client and its C media driver, which runs in a third process; spinning.
//!
//! Settings: all defaults (an exclusive publication, terms of 64 MiB, a dedicated driver that backs
//! off when idle), but its directory. Client and driver are built by their crates with
//! `-march=native`, which nothing else here is. Copied in by `offer`, read in place by an image's
//! `poll`, of one fragment if one record is wanted. Batches: it sends none, only `poll` gathers.
//!
//! The driver, and the client's own thread, are not pinned and share the two cores with the two
//! sides if there are no others.

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

/// How long the driver may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Aeron;

/// An end that sends, and the client that it lives by.
pub(crate) struct Publication {
    publication: AeronExclusivePublication,
    _client: rusteron_client::Aeron,
}

/// An end that receives, likewise.
pub(crate) struct Image {
    image: AeronImage,
    _subscription: AeronSubscription,
    _client: rusteron_client::Aeron,
}

/// The media driver. It runs until it is killed.
pub(crate) fn drive(way: &Way) -> Result<(), Failure> {
    let directory = format!("/dev/shm/aeron-{}", way.name());
    let context = AeronDriverContext::new()?;
    context.set_dir_delete_on_start(true)?;
    context.set_dir(&directory.as_str().into_c_string())?;
    let (_stop, driver) = AeronDriver::launch_embedded(context, false);
    way.of_case().tell("driver", &directory)?;
    while !driver.is_finished() {
        sleep(Duration::from_millis(100));
    }
    Err("the driver ended".into())
}

fn client(way: &Way) -> Result<rusteron_client::Aeron, Failure> {
    let directory = way.of_case().learn("driver")?;
    // It takes a moment until the directory that was named can be used.
    let client =
        way.wait("driver's start", || rusteron_client::Aeron::connect_dir(&directory).ok());
    Ok(client?)
}

/// One stream each way.
fn stream(way: &Way) -> i32 {
    if way.is_back() { 1002 } else { 1001 }
}

impl Transport for Aeron {
    type Sender<R: Record> = Publication;
    type Receiver<R: Record> = Image;

    fn sender<R: Record>(way: &Way) -> Result<Publication, Failure> {
        let client = client(way)?;
        let stream = stream(way);
        let publication = client.add_exclusive_publication(AERON_IPC_STREAM, stream, PATIENCE)?;
        way.wait("subscription", || publication.is_connected().then_some(()))?;
        Ok(Publication { publication, _client: client })
    }

    fn receiver<R: Record>(way: &Way) -> Result<Image, Failure> {
        let client = client(way)?;
        let (stream, none) = (stream(way), Handlers::NONE);
        let subscription =
            client.add_subscription(AERON_IPC_STREAM, stream, none, Handlers::NONE, PATIENCE)?;
        let image = way.wait("image", || subscription.image_at_index(0))?;
        Ok(Image { image, _subscription: subscription, _client: client })
    }
}

impl<R: Record> transport::Sender<R> for Publication {
    #[inline]
    fn send(&mut self, record: &R) -> Result<(), Failure> {
        // SAFETY: a record is words, without padding.
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
        let mut short = false;
        spin(|| {
            let polled = self.image.poll_fn(
                |bytes, _header| {
                    if bytes.len() != size_of::<R>() {
                        short = true;
                        return;
                    }
                    // SAFETY: there are as many bytes as a record has, and every bit pattern is
                    // one: it is words.
                    tally.take(unsafe { bytes.as_ptr().cast::<R>().read_unaligned() }.sequence());
                },
                most,
            );
            polled.map(|count| (count > 0).then_some(())).transpose()
        })?;
        if short { Err("a record of another length came".into()) } else { Ok(()) }
    }
}
