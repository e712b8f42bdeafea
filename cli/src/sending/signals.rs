//! SIGINT and SIGTERM end the waits of this process, so that it leaves in order.

use crate::output::Failure;
use packetring::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::Read;
use std::os::unix::net::UnixStream;

/// A stop that SIGINT and SIGTERM call.
pub(crate) fn stop_on_signals() -> Result<Stop, Failure> {
    let failed =
        |error| Failure::failed(format_args!("signals not caught: {error}; see `ulimit -n`"));
    let (mut reader, writer) = UnixStream::pair().map_err(failed)?;
    for signal in [SIGINT, SIGTERM] {
        let writer = writer.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, writer).map_err(failed)?;
    }
    let stop = Stop::new();
    let called = stop.clone();
    std::thread::spawn(move || {
        let _ = reader.read(&mut [0]);
        called.stop();
    });
    Ok(stop)
}
