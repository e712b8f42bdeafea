//! A web server of several processes that ask each other:
//!
//! ```text
//! cargo run --features async --example axum_workers -- ada 127.0.0.1:3000
//! cargo run --features async --example axum_workers -- bob 127.0.0.1:3001
//! curl -d 'hello bob' http://127.0.0.1:3000/to/bob
//! ```
//!
//! The process that gets the HTTP request calls the other one through shared memory, and waits in
//! the task of the request. Ctrl-C ends a process.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use packetring::cluster::{CallError, Client, Request, Service};
use packetring::{Worker, packet};
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

#[packet(borrowed)]
struct Chat {
    from: String,
    text: String,
}

/// How long a caller may take before its client is told.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What all requests of this process share.
struct Web {
    worker: Worker,
    /// One client for each process that was asked, shared by all tasks.
    clients: Mutex<HashMap<String, Arc<Client<Chat, Chat>>>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or("ada".into());
    let listener = TcpListener::bind(arguments.next().unwrap_or("127.0.0.1:3000".into())).await?;
    let cluster = std::env::var("CLUSTER").unwrap_or("axum-example".into());
    let worker = Worker::join(&cluster, &name)?;
    let answering = tokio::spawn(answer(worker.service(&name)?, name.clone()));
    println!("{name} listens on {}", listener.local_addr()?);

    let web = Arc::new(Web { worker, clients: Mutex::default() });
    let routes = Router::new().route("/to/{name}", post(ask)).with_state(Arc::clone(&web));
    let mut terminate = signal(SignalKind::terminate())?;
    let ending = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    axum::serve(listener, routes).with_graceful_shutdown(ending).await?;
    answering.abort();
    let _ = answering.await; // The service is dropped.
    if let Some(Web { worker, clients }) = Arc::into_inner(web) {
        drop(clients);
        worker.leave()?;
    }
    Ok(())
}

/// Serves an HTTP request: asks the process of this name.
async fn ask(
    State(web): State<Arc<Web>>,
    Path(to): Path<String>,
    text: String,
) -> Result<String, (StatusCode, String)> {
    let failed = |error: &dyn Error| (StatusCode::BAD_GATEWAY, format!("{to}: {error}\n"));
    let client = web.client(&to).map_err(|error| failed(&*error))?;
    let question = Chat { from: web.worker.name().to_owned(), text };
    match timeout(TIMEOUT, client.call_async(&question)).await {
        Ok(Ok(answer)) => Ok(format!("{}: {}\n", answer.from, answer.text)),
        Ok(Err(error @ CallError::NoService)) => Err((StatusCode::NOT_FOUND, format!("{error}\n"))),
        Ok(Err(error)) => Err(failed(&error)),
        // The call is dropped, and thereby cancelled.
        Err(_) => Err((StatusCode::GATEWAY_TIMEOUT, format!("{to} does not answer\n"))),
    }
}

impl Web {
    fn client(&self, name: &str) -> Result<Arc<Client<Chat, Chat>>, Box<dyn Error>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(name) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.worker.client(name)?);
        clients.insert(name.to_owned(), Arc::clone(&client));
        Ok(client)
    }
}

/// Answers the questions of the other processes.
async fn answer(mut service: Service<Chat, Chat>, name: String) {
    let mut count = 0;
    while let Ok(request) = service.recv_async().await {
        count += 1;
        let text = format!("got {:?} from {}, number {count}", &*request.text, &*request.from);
        // A caller that is gone needs no answer.
        let _ = Request::reply(request, ChatRef { from: &name, text: &text });
    }
}
