//! Errors of sending descriptors with a message, of waiting until they are taken, and of taking
//! them.

use super::{InboxFull, SendToError, SendToFailure, WaitingForInbox};
use crate::error::{Failure, error_family};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

/// Failure of sending descriptors, common to `send_fds_to` and its other forms.
pub(in crate::cluster) type SendFdsFailure = Failure<SendFdsError, WaitingForInbox>;

/// Failure of waiting for a handover.
pub(in crate::cluster) type HandoverFailure = Failure<HandoverError, ()>;

/// A message that was not sent, and its descriptors.
#[derive(Debug)]
pub struct NotSent<E> {
    /// Why it was not sent.
    pub error: E,
    /// The descriptors, as they were given.
    pub fds: Vec<OwnedFd>,
}

impl<E: fmt::Display> fmt::Display for NotSent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: std::error::Error> std::error::Error for NotSent<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

error_family! {
    /// Why [`send_fds_to`](crate::Worker::send_fds_to), which waits for room, sent no message.
    SendFdsError waits for WaitingForInbox, {
        /// A message has 1 to 16 descriptors.
        WrongCount {
            /// The number of descriptors.
            count: usize,
        } => ("message with {count} descriptors not sent: 1 to 16 are allowed; send the others with further messages"),
        /// The worker lives, and its inbox accepts no descriptors. Also if the file of its socket
        /// was removed by hand: the worker makes it again soon.
        NotAccepted {
            /// The name or id as given.
            who: String,
        } => ("worker {who} accepts no descriptors: call Inbox::accept_fds in its process, or send again once it has"),
        /// The worker is [away](crate::cluster::WorkerState::Away): messages wait for its
        /// successor, and descriptors cannot.
        Away {
            /// The name or id as given.
            who: String,
        } => ("descriptors not sent: worker {who} is away, and descriptors need a living receiver; send again once it is back, or to another worker"),
        /// So many descriptors wait for the worker that its socket takes no more.
        QueueFull {
            /// The name or id as given.
            who: String,
        } => ("descriptors not sent: those of up to 1024 messages (sysctl net.core.somaxconn) wait for worker {who}; receive there, or send them to another worker"),
        /// The socket of the worker belongs to a user that the cluster does not admit.
        Untrusted {
            /// The name or id as given.
            who: String,
            /// The user's id.
            user: u32,
        } => ("descriptors not sent: the socket of worker {who} belongs to user {user}, whom the cluster does not admit; remove its file in /dev/shm"),
        /// The message could not be sent.
        Message(#[source] error: SendToError) => ("{error}"),
        /// The system refused to send the descriptors: for example, this process has no descriptor
        /// left, or too many are under way.
        System(#[source] error: io::Error) => ("descriptors not sent: {error}{}", FdAdvice(error)),
    }

    /// Why [`try_send_fds_to`](crate::Worker::try_send_fds_to), which does not wait, sent no
    /// message.
    TrySendFdsError adds {
        /// The inbox is full.
        Full {
            /// The worker of the inbox, or another reason.
            waiting_for
        } => ("{}", InboxFull { waiting_for, after: "" })
    }

    /// Why [`send_fds_to_timeout`](crate::Worker::send_fds_to_timeout) sent no message.
    SendFdsTimeoutError adds {
        /// The inbox was full until the timeout.
        Timeout {
            /// The worker of the inbox, or another reason.
            waiting_for
        } => ("{}", InboxFull { waiting_for, after: " until the timeout" })
    }
}

error_family! {
    /// Why [`Handover::wait`](crate::cluster::Handover::wait) ended without the descriptors being
    /// taken.
    HandoverError waits for (), {
        /// The receiver dropped the descriptors: it died, left the cluster, or closed its socket.
        Gone {
            /// The worker's name or id as given.
            who: String,
        } => ("descriptors not taken: worker {who} died, left or closed its socket; send them to another worker"),
        /// The receiver acknowledged the message without taking its descriptors, or made it a dead
        /// letter. Or this process had so many connections to the receiver that others needed the
        /// place.
        Discarded {
            /// The worker's name or id as given.
            who: String,
        } => ("descriptors not taken: worker {who} acknowledged the message without them; call Message::take_fds there"),
        /// The receiver had no descriptor left.
        NoFdLeft {
            /// The worker's name or id as given.
            who: String,
        } => ("descriptors not taken: worker {who} has no descriptor left; raise RLIMIT_NOFILE there, and send them again"),
        /// The [`Stop`](crate::Stop) of the sending worker was called. The receiver may still take
        /// the descriptors.
        Stopped => ("wait for a handover stopped"),
        /// The system refused the wait.
        System(#[source] error: io::Error) => ("handover not followed: {error}"),
    }

    /// Why [`Handover::try_wait`](crate::cluster::Handover::try_wait) did not find the descriptors
    /// taken.
    TryHandoverError adds {
        /// Nothing is known yet.
        Pending => ("descriptors not taken yet")
    }

    /// Why [`Handover::wait_timeout`](crate::cluster::Handover::wait_timeout) ended without the
    /// descriptors being taken.
    HandoverTimeoutError adds {
        /// Nothing was known until the timeout.
        Timeout => ("descriptors not taken until the timeout")
    }
}

error_family! {
    /// Why [`Message::take_fds`](crate::cluster::Message::take_fds) returned no descriptors.
    TakeFdsError, {
        /// They are not there: they were taken at an earlier delivery of the message, or went with
        /// the process for which they waited. The sender may have them back: see
        /// [`HandoverError::Gone`](crate::cluster::HandoverError::Gone).
        Lost => ("descriptors of the message lost: taken at an earlier delivery, or gone with an earlier process of this worker; have them sent again if the sender still has them"),
        /// The inbox accepts no descriptors. The next delivery of the message tries again.
        NotAccepted => ("descriptors of the message not taken: this inbox accepts none; call Inbox::accept_fds when it is opened"),
        /// This process has no descriptor left. If the message is dropped without `ack`, the next
        /// delivery tries again, unless the kernel had to close some of them.
        NoFdLeft => ("descriptors of the message not taken: this process has no descriptor left; raise RLIMIT_NOFILE, or close some"),
        /// The system refused it.
        System(#[source] error: io::Error) => ("descriptors of the message not taken: {error}"),
    }
}

impl From<SendToFailure> for SendFdsFailure {
    fn from(failure: SendToFailure) -> Self {
        match failure {
            Failure::Error(error) => Self::Error(SendFdsError::Message(error)),
            Failure::NotReady(waiting_for) => Self::NotReady(waiting_for),
        }
    }
}

/// The advice about a refusal of the system, behind a semicolon, or nothing.
struct FdAdvice<'a>(&'a io::Error);

impl fmt::Display for FdAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.raw_os_error() {
            Some(libc::ETOOMANYREFS) => {
                "; more descriptors of this user are under way than RLIMIT_NOFILE: raise it, or wait until some were taken"
            }
            Some(libc::EMFILE) => "; raise RLIMIT_NOFILE, or close some",
            _ => "",
        })
    }
}
