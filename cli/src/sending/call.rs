//! `call SERVICE JSON`: calls a service, and prints the reply.

use super::packet::Input;
use super::stop_on_signals;
use super::target;
use crate::args;
use crate::names;
use crate::output::{Failure, Outcome, Output};
use crate::text;
use clap::Args;
use packetring::cluster::{AnyClient, CallTimeoutError};
use packetring::inventory::ObjectKind;
use std::io::Write;
use std::time::Duration;

/// Least memory for replies of this process.
const LEAST_REPLIES: usize = 64 << 10;

/// Arguments of `call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The service, as in `shop/service/resize` or `shop/resize`
    name: String,
    /// The request as JSON; `-`, or nothing, reads a request from each line of the standard input
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    request: Option<String>,
    /// Cancels a call without a reply after this time; without it, waits as long as a server lives
    #[arg(long, value_name = "SECONDS", value_parser = args::seconds)]
    timeout: Option<Duration>,
    /// The largest reply
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20,
        value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    max_reply: u32,
}

/// Calls a service with each request of the input.
pub(crate) fn run(args: &CallArgs, output: &mut Output) -> Result<Outcome, Failure> {
    let stop = stop_on_signals()?;
    let objects = packetring::inventory()?;
    let object = names::find(&objects, &args.name)?;
    if object.kind != ObjectKind::Requests {
        let (name, kind) = (names::full(object), names::word(object.kind));
        return Err(Failure::failed(format_args!(
            "{name} is a {kind} and no service; `packetring ls --kind service` lists the services"
        )));
    }
    target::refuse_left(object)?;
    let max_reply = args.max_reply as usize;
    let capacity = (max_reply * 2).next_power_of_two().max(LEAST_REPLIES);
    let worker = target::join(object, &stop, |builder| builder.reply_capacity(capacity))?;
    let client = worker.service_builder(&object.name).max_reply(max_reply).any_client()?;
    let mut input = Input::of(args.request.as_deref(), &stop);
    while let Some(json) = input.next()? {
        let request = json.encode(client.request())?;
        let called = call(&client, &request, args.timeout, output);
        called.map_err(|error| match error {
            _ if stop.is_stopped() => Failure::failed("ended by a signal: the call is cancelled"),
            Failure::Failed(message) => Failure::Failed(format!("{}{message}", json.place)),
            other => other,
        })?;
        output.flush()?;
    }
    match stop.is_stopped() {
        true => Err(Failure::failed("ended by a signal")),
        false => Ok(Outcome::Done),
    }
}

fn too_large(needed: usize, limit: usize) -> Failure {
    Failure::failed(format_args!(
        "the request was executed, but its reply of {needed} bytes is longer than the room of \
         {limit} bytes; give --max-reply {needed}"
    ))
}

/// Calls the service, and prints the reply.
fn call(
    client: &AnyClient,
    request: &[u8],
    timeout: Option<Duration>,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = client.request().read(request).map_err(Failure::failed)?;
    let reply = match timeout {
        Some(timeout) => client.call_timeout(request, timeout),
        None => client.call(request).map_err(CallTimeoutError::from),
    };
    let reply = reply.map_err(|error| match error {
        CallTimeoutError::ReplyTooLarge { needed, limit } => too_large(needed, limit),
        error => Failure::failed(error),
    })?;
    let value = reply.value().map_err(Failure::failed)?;
    if output.is_json {
        return output.json(&serde_json::json!({ "type": reply.schema().name(), "reply": value }));
    }
    writeln!(output, "{}", text::plain(&value.to_string()))?;
    Ok(())
}
