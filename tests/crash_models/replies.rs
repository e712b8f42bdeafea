//! Replies of services: one client calls two servers through one reply cell, which it uses again
//! for its next call.
//!
//! ```text
//!  call      cell: deferred := 0; the state stays that of an earlier position ─► publish at p
//!  take      own := p|PIN ─► CAS shared p → p|PIN ─► own := p ─► shared := p + 1
//!              ─► load given_up, caller, since ─► p < since: skip
//!              ─► given_up is not 0: load cell.given_up ─► it is p + 1: skip
//!  reply     payload ─► state := (p, reply) ─► own := NOWHERE
//!  drop      state := (p, no reply) ─► own := NOWHERE
//!  defer     cell.deferred := (entry, incarnation) ─► own := NOWHERE
//!  later     under the server's lock: payload ─► state := (p, kind)
//!  leave     under the server's lock: closed ─► own := NOWHERE, the liveness lock is released
//!  find loss shared ≤ p: waiting ─► a living server's own = p: in flight ─► cell.deferred names a
//!              living server: in progress ─► state is not (p, _): the call is lost
//!  give up   cell.given_up := p + 1 ─► given_up += 1
//!  withdraw  give up ─► nobody has taken or pinned p: no service
//!              └ taken: given_up -= 1 ─► cell.given_up := 0 ─► wait on
//!  resolved  the state is (p, _), or the call is lost ─► given_up -= 1 ─► the cell is free
//!  join      since := tail ─► caller := id of the call area ─► given_up := 0
//! ```
//!
//! The actors mirror these sources:
//!
//! - server: `cluster/service/server.rs`, its take `ring/consumer_group/mod.rs` (`try_take`); the
//!   pin of a dead server is cleared in one step (`queues` models `unpin`)
//! - a thread of a server with a deferred reply: `cluster/service/reply.rs`
//! - client: `cluster/calls/link.rs`; `src/ring/call/mod.rs` (`status_of_call`, `is_untaken`)
//!
//! A client that is killed is succeeded by a client with another call area in its publisher entry.
//! A client that leaves is succeeded there by a client of the same worker, with the same area.
//!
//! Memory is sequentially consistent but for a take: its last two stores may be seen after later
//! loads of the server. So the pin alone orders the take and a withdrawal.
//!
//! Not modelled: wake-ups (`parking`), the mappings of call areas, calls of several threads,
//! several cells of one area (a call that stays given up stands for them). Payload and block of a
//! cell are one word. A server that leaves with a request in hand drops it first.

use super::explorer::{Model, Next, breaks, holds, is_large};

const NOWHERE: u8 = u8::MAX;
const PIN: u8 = 0x80;
const SERVERS: usize = 2;
const AREAS: usize = 2;
/// Limit of the calls in a scenario.
const CALLS: usize = 3;
/// In `State::open`: the client of the area was killed, so its cell is used by nobody.
const DEAD: u8 = u8::MAX;
const NAMES: [&str; SERVERS] = ["S0", "S1"];
const LATE: [&str; SERVERS] = ["S0'", "S1'"];
const CLIENTS: [&str; AREAS] = ["C0", "C1"];

/// Injected faults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The client reads the state before the in-flight words.
    StateReadFirst,
    /// The client reads the deferred word before the in-flight words.
    DeferredReadFirst,
    /// The client does not read the deferred word.
    DeferredIgnored,
    /// The client compares the entry of a deferred reply alone, without the incarnation.
    IncarnationIgnored,
    /// The client takes the word of a dead server for a request in flight.
    LivenessIgnored,
    /// A cell is used again as soon as its call is cancelled.
    ReusedAfterCancel,
    /// A cell is used again as soon as its call has ended with "no service".
    ReusedAfterNoService,
    /// The state has no position, and a cell is used again as soon as its call is cancelled.
    NoPositionInReusedState,
    /// The state has no position.
    NoPositionInState,
    /// A server compares the given-up word of a cell with 0, not with the position.
    GivenUpWithoutPosition,
    /// A server stores the deferred word after it released the request.
    DeferredAfterRelease,
    /// A server drops a request without a state.
    DroppedWithoutState,
    /// A server releases a request before it stores the state.
    ReleasedBeforeState,
    /// A server stores the state before the payload.
    StateBeforePayload,
    /// A server frees its entry without closing its deferred replies.
    NotClosed,
    /// A server leaves without its lock.
    LeftWithoutLock,
    /// A server loads the count of given-up calls before it pins the shared cursor.
    GivenUpBeforePin,
    /// A server loads the count of given-up calls after the caller.
    GivenUpAfterCaller,
    /// A server does not look for given-up calls.
    GivenUpIgnored,
    /// A withdrawal looks for a server before it gives up the call.
    WithdrawChecksFirst,
    /// A withdrawal does not check whether a server has taken the request.
    WithdrawUnchecked,
    /// A withdrawal takes a pinned shared cursor for an untaken request.
    PinIsUntaken,
    /// A withdrawal does not load the shared cursor again after the in-flight words.
    SharedNotReadAgain,
    /// A withdrawal that fails does not lower the count.
    NotUndone,
    /// A client stores its id before its `since`.
    CallerBeforeSince,
    /// A server loads `since` before the caller.
    SinceBeforeCaller,
    /// A server does not compare with `since`.
    SinceIgnored,
    /// A client does not reset the count of its predecessor.
    CountNotReset,
    /// A client resets the count of its predecessor first.
    CountResetFirst,
    /// A client that has left lowers the count, which is its successor's.
    LoweredAfterLeaving,
    /// The count is not lowered when a given-up call is resolved.
    NotLowered,
    /// The count is lowered when a withdrawn call ends, not when it is resolved.
    LoweredEarly,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Violation {
    /// A call ended with the outcome or the payload of another request.
    OutcomeOfAnother,
    /// A server wrote into a cell whose call is resolved.
    WroteToResolvedCell,
    /// A server wrote into a cell of another client than its caller.
    WroteForAnother,
    ExecutedTwice,
    /// A request was executed although its call ended with "no service".
    ExecutedAfterNoService,
    /// A server executed a request that it took when the client had left.
    ServedForTheGone,
    /// A call ended with "service gone" although its server neither died nor left, nor skipped it
    /// because it was given up.
    GoneWithoutReason,
    /// The count of given-up calls does not match them.
    CountIsWrong,
    CallNeverCompletes,
}

/// The words of a reply cell.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Cell {
    /// Position of the request + 1. 0: pending.
    state: u8,
    is_reply: bool,
    /// The request + 1 whose reply the payload is.
    payload: u8,
    /// Entry + 1 and incarnation. (0, 0): not deferred.
    deferred: (u8, u8),
    /// Position + 1.
    given_up: u8,
}

const EMPTY: Cell = Cell { state: 0, is_reply: false, payload: 0, deferred: (0, 0), given_up: 0 };

/// The next step of a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// Dead or gone.
    Away,
    /// Joined, with the incarnation of its predecessor.
    Begin,
    Idle,
    /// Only with a fault: loads the count of given-up calls, then pins.
    EarlyGivenUp,
    Pin,
    Lost,
    InFlight,
    Move,
    GivenUp,
    Caller,
    Since,
    CellGivenUp,
    Serve,
    Payload,
    State,
    Mark,
    Release,
    Close,
    Free,
}

/// A request that is answered later, by another thread of the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Late {
    /// Position + 1. 0: there is none.
    request: u8,
    area: u8,
    is_reply: bool,
    /// The server's lock is held, and the payload was written.
    is_locked: bool,
}

const NOT_LATE: Late = Late { request: 0, area: 0, is_reply: false, is_locked: false };

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Server {
    is_alive: bool,
    own: u8,
    incarnation: u8,
    at: At,
    p: u8,
    /// The call area that the request's entry names.
    area: u8,
    /// As loaded from the entry: a call is given up.
    sees_given_up: bool,
    /// As loaded, with the fault `SinceBeforeCaller`.
    since: u8,
    /// The caller had left when the request was taken.
    is_for_the_gone: bool,
    is_reply: bool,
    /// The request is released, with a fault that does so first.
    is_released: bool,
    late: Late,
    /// Stores of the take that the others do not see yet: `OWN`, `SHARED`.
    pending: u8,
}

/// Bits of `Server::pending`.
const OWN: u8 = 1;
const SHARED: u8 = 2;

const AWAY: Server = Server {
    is_alive: false,
    own: NOWHERE,
    incarnation: 0,
    at: At::Away,
    p: 0,
    area: 0,
    sees_given_up: false,
    since: 0,
    is_for_the_gone: false,
    is_reply: false,
    is_released: false,
    late: NOT_LATE,
    pending: 0,
};

impl Server {
    /// Has nothing in hand.
    fn idle(self) -> Self {
        let Self { is_alive, own, incarnation, late, .. } = self;
        Self { is_alive, own, incarnation, late, at: At::Idle, ..AWAY }
    }

    /// The step after the words of the publisher entry were loaded.
    fn after_loads(&self) -> At {
        if self.sees_given_up { At::CellGivenUp } else { At::Serve }
    }
}

/// The next step of the client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    StoreSince,
    StoreCaller,
    ResetCount,
    Rest,
    /// Reads the payload of its reply.
    Read,
    LoadShared,
    LoadOwn(u8),
    LoadDeferred,
    CheckDeferred,
    LoadState,
    GiveUpCell,
    GiveUpEntry,
    /// `is_untaken`: the shared cursor, the in-flight words, the shared cursor again.
    IsUntaken,
    IsTried(u8),
    IsStill,
    UndoEntry,
    UndoCell,
    NoService,
    Lower,
}

/// The call of a cell, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Mode {
    /// The cell is free.
    Free,
    Open,
    /// The call was cancelled, and is not resolved.
    Cancelled,
    /// The call ended with "no service", and is not resolved.
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Client {
    step: Step,
    mode: Mode,
    area: u8,
    p: u8,
    calls: u8,
    is_withdrawing: bool,
    /// The call was given up in the entry, which is still this client's.
    is_counted: bool,
    /// With a fault: the state was read first, or the deferred word.
    seen: u8,
    deferred: (u8, u8),
}

/// The client with a free cell.
fn released(client: Client) -> Client {
    Client {
        step: Step::Rest,
        mode: Mode::Free,
        p: 0,
        is_withdrawing: false,
        is_counted: false,
        ..client
    }
}

/// What became of a request. Known to the model only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Truth {
    area: u8,
    is_executed: bool,
    /// 0: none; 1: no reply; 2: a reply.
    answer: u8,
    /// A server that had taken it died or left, or skipped it because it was given up.
    may_be_gone: bool,
    /// Its call ended with "no service".
    is_refused: bool,
}

const UNPUBLISHED: Truth =
    Truth { area: 0, is_executed: false, answer: 0, may_be_gone: false, is_refused: false };

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    tail: u8,
    shared: u8,
    /// The client's publisher entry.
    caller: u8,
    since: u8,
    given_up: u8,
    cells: [Cell; AREAS],
    servers: [Server; SERVERS],
    client: Client,
    /// The unresolved call of each cell: its position + 1. 0: none.
    open: [u8; AREAS],
    truth: [Truth; CALLS],
    kills: u8,
    joins: u8,
    leaves: u8,
    client_kills: u8,
    client_leaves: u8,
    cancels: u8,
    self_calls: u8,
    violation: Option<Violation>,
}

/// A scenario.
#[derive(Clone, Copy)]
struct Replies {
    fault: Fault,
    servers: usize,
    calls: u8,
    kills: u8,
    joins: u8,
    leaves: u8,
    client_kills: u8,
    client_leaves: u8,
    cancels: u8,
    /// Withdrawals although a server lives: it is the calling thread's own.
    self_calls: u8,
    defers: bool,
    /// The client has another call that is given up all the time.
    others: u8,
    /// Late writes are reported.
    checks_cells: bool,
}

fn position(word: u8) -> u8 {
    word & !PIN
}

impl State {
    fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// A server wrote for the request at `p` into the cell of an area.
    fn wrote(&mut self, model: &Replies, area: u8, p: u8) {
        let open = self.open[usize::from(area)];
        if self.truth[usize::from(p)].area != area {
            self.violate(Violation::WroteForAnother);
        } else if model.checks_cells && open != DEAD && open != p + 1 {
            self.violate(Violation::WroteToResolvedCell);
        }
    }

    fn store_state(&mut self, model: &Replies, area: u8, p: u8, is_reply: bool) {
        self.wrote(model, area, p);
        let cell = &mut self.cells[usize::from(area)];
        (cell.state, cell.is_reply) = (p + 1, is_reply);
        self.truth[usize::from(p)].answer = if is_reply { 2 } else { 1 };
    }

    fn store_payload(&mut self, model: &Replies, area: u8, p: u8) {
        self.wrote(model, area, p);
        self.cells[usize::from(area)].payload = p + 1;
    }

    /// A living server has taken `p` or pinned the shared cursor there.
    fn is_tried(&self, entry: u8, p: u8) -> bool {
        let server = self.servers[usize::from(entry)];
        server.is_alive && server.own != NOWHERE && position(server.own) == p
    }

    fn has_servers(&self) -> bool {
        self.servers.iter().any(|server| server.is_alive)
    }

    /// The first pending store of a server becomes visible.
    fn flush(&mut self, entry: usize) {
        let Server { pending, p, .. } = self.servers[entry];
        if pending & OWN != 0 {
            self.servers[entry].own = p;
            self.servers[entry].pending &= !OWN;
        } else if pending & SHARED != 0 {
            self.shared = p + 1;
            self.servers[entry].pending = 0;
        }
    }

    /// The requests that a server has in hand or deferred are lost.
    fn lose(&mut self, entry: usize) {
        let Server { at, p, late, is_released, .. } = self.servers[entry];
        let is_taken = match at {
            At::GivenUp | At::Caller | At::Since | At::CellGivenUp | At::Serve => true,
            At::Payload | At::State | At::Mark => true,
            At::Release => !is_released,
            _ => false,
        };
        if is_taken && self.truth[usize::from(p)].answer == 0 {
            self.truth[usize::from(p)].may_be_gone = true;
        }
        if late.request != 0 && self.truth[usize::from(late.request - 1)].answer == 0 {
            self.truth[usize::from(late.request - 1)].may_be_gone = true;
        }
    }
}

impl Model for Replies {
    type State = State;
    type Violation = Violation;

    fn start(&self) -> State {
        let mut servers = [AWAY; SERVERS];
        for server in &mut servers[..self.servers] {
            *server = Server { is_alive: true, at: At::Idle, incarnation: 1, ..AWAY };
        }
        let client = Client {
            step: Step::Rest,
            mode: Mode::Free,
            area: 0,
            p: 0,
            calls: 0,
            is_withdrawing: false,
            is_counted: false,
            seen: 0,
            deferred: (0, 0),
        };
        State {
            tail: 0,
            shared: 0,
            caller: 0,
            since: 0,
            given_up: self.others,
            cells: [EMPTY; AREAS],
            servers,
            client,
            open: [0; AREAS],
            truth: [UNPUBLISHED; CALLS],
            kills: self.kills,
            joins: self.joins,
            leaves: self.leaves,
            client_kills: self.client_kills,
            client_leaves: self.client_leaves,
            cancels: self.cancels,
            self_calls: self.self_calls,
            violation: None,
        }
    }

    fn next(&self, state: &State, next: &mut Next<State>) {
        self.client_events(state, next);
        self.client(state, next);
        for entry in 0..SERVERS {
            self.server_events(state, entry, next);
            self.server(state, entry, next);
            self.late(state, entry, next);
        }
    }

    fn violation(&self, state: &State) -> Option<Violation> {
        if state.violation.is_some() {
            return state.violation;
        }
        let client = state.client;
        let is_settled = client.step == Step::Rest && client.mode == Mode::Free;
        (is_settled && state.given_up != self.others).then_some(Violation::CountIsWrong)
    }

    /// All calls have ended, and their cell is free, or no server is there to skip the request.
    fn unmet(&self, state: &State) -> Vec<Violation> {
        let client = state.client;
        let is_over = client.mode == Mode::Free && client.calls == self.calls;
        let is_reserved = matches!(client.mode, Mode::Cancelled | Mode::Refused)
            && position(state.shared) <= client.p
            && !state.has_servers();
        if client.step == Step::Rest && (is_over || is_reserved) {
            return Vec::new();
        }
        vec![Violation::CallNeverCompletes]
    }
}

impl Replies {
    /// The client is killed or leaves, and is succeeded; it cancels a call.
    fn client_events(&self, state: &State, next: &mut Next<State>) {
        let client = state.client;
        let who = CLIENTS[usize::from(client.area)];
        let first = match self.fault {
            Fault::CallerBeforeSince => Step::StoreCaller,
            Fault::CountResetFirst => Step::ResetCount,
            _ => Step::StoreSince,
        };
        if state.client_kills > 0 && client.area == 0 {
            let mut new = *state;
            new.client_kills -= 1;
            if client.mode == Mode::Refused {
                next.cover("a client was killed after no service");
            }
            if client.mode == Mode::Open {
                next.cover("a client was killed in a call");
            }
            new.open[0] = DEAD;
            new.client = Client {
                step: first,
                mode: Mode::Free,
                area: 1,
                p: 0,
                is_withdrawing: false,
                is_counted: false,
                seen: 0,
                deferred: (0, 0),
                ..client
            };
            next.external(who, "is killed, and is succeeded", &[], new);
        }
        if client.step != Step::Rest {
            return;
        }
        if state.client_leaves > 0 && client.mode != Mode::Open {
            let mut new = *state;
            new.client_leaves -= 1;
            if client.mode != Mode::Free {
                next.cover("a client left with a reserved cell");
            }
            new.client.step = first;
            new.client.is_counted &= self.fault == Fault::LoweredAfterLeaving;
            next.external(who, "leaves, and another client of its worker joins", &[], new);
        }
        if state.cancels > 0 && client.mode == Mode::Open {
            let mut new = *state;
            new.cancels -= 1;
            (new.client.step, new.client.mode) = (Step::GiveUpCell, Mode::Cancelled);
            next.external(who, "cancels its call", &[], new);
        }
    }

    fn client(&self, state: &State, next: &mut Next<State>) {
        let client = state.client;
        let who = CLIENTS[usize::from(client.area)];
        let area = usize::from(client.area);
        let mut new = *state;
        let me = &mut new.client;
        let p = client.p;
        let text = match client.step {
            Step::StoreSince => {
                new.since = state.tail;
                me.step = match self.fault {
                    Fault::CallerBeforeSince => Step::ResetCount,
                    _ => Step::StoreCaller,
                };
                "stores since"
            }
            Step::StoreCaller => {
                new.caller = client.area;
                me.step = match self.fault {
                    Fault::CallerBeforeSince => Step::StoreSince,
                    Fault::CountNotReset | Fault::CountResetFirst => Step::Rest,
                    _ => Step::ResetCount,
                };
                "stores its call area"
            }
            Step::ResetCount => {
                new.given_up = self.others;
                me.step = match self.fault {
                    Fault::CountResetFirst => Step::StoreSince,
                    _ => Step::Rest,
                };
                "resets the count of given-up calls"
            }
            Step::Rest => return self.client_rests(state, next),
            Step::Read => {
                if self.checks_cells && state.cells[area].payload != p + 1 {
                    new.violate(Violation::OutcomeOfAnother);
                }
                new.client = released(client);
                "reads the reply to {} and frees the cell"
            }
            Step::LoadShared => return self.load_shared(state, next),
            Step::LoadOwn(entry) => {
                let server = state.servers[usize::from(entry)];
                let lives = server.is_alive || self.fault == Fault::LivenessIgnored;
                me.step = if lives && server.own == p {
                    Step::Rest
                } else if usize::from(entry) + 1 < SERVERS {
                    Step::LoadOwn(entry + 1)
                } else {
                    match self.fault {
                        Fault::DeferredReadFirst => Step::CheckDeferred,
                        Fault::DeferredIgnored => Step::LoadState,
                        _ => Step::LoadDeferred,
                    }
                };
                if me.step == Step::Rest {
                    (me.seen, me.deferred) = (0, (0, 0));
                }
                "looks for a living server with {}"
            }
            Step::LoadDeferred => {
                me.deferred = state.cells[area].deferred;
                me.step = match self.fault {
                    Fault::DeferredReadFirst => Step::LoadShared,
                    _ if me.deferred == (0, 0) => Step::LoadState,
                    _ => Step::CheckDeferred,
                };
                "loads the deferred word of {}"
            }
            Step::CheckDeferred => {
                let (entry, incarnation) = client.deferred;
                let is_alive = entry != 0 && {
                    let server = state.servers[usize::from(entry) - 1];
                    let is_its = server.incarnation == incarnation
                        || self.fault == Fault::IncarnationIgnored;
                    server.is_alive && is_its
                };
                if is_alive {
                    next.cover("a call was deferred by a living server");
                } else if entry != 0 {
                    next.cover("a deferred call was lost");
                }
                me.step = if is_alive { Step::Rest } else { Step::LoadState };
                me.deferred = (0, 0);
                "checks the server that deferred {}"
            }
            Step::LoadState => {
                let seen = match self.fault {
                    Fault::StateReadFirst => client.seen,
                    _ => state.cells[area].state,
                };
                me.seen = 0;
                if self.is_its_state(seen, p) {
                    next.cover("the last look found the outcome");
                    self.take_outcome(&mut new);
                } else {
                    self.lose_call(&mut new, next);
                }
                "loads the state of {}"
            }
            Step::GiveUpCell => {
                new.cells[area].given_up = p + 1;
                me.step = Step::GiveUpEntry;
                "stores given_up of the cell of {}"
            }
            Step::GiveUpEntry => {
                new.given_up = state.given_up.wrapping_add(1);
                me.is_counted = true;
                me.step = match (client.is_withdrawing, self.fault) {
                    (true, Fault::WithdrawChecksFirst | Fault::WithdrawUnchecked) => {
                        Step::NoService
                    }
                    (true, _) => Step::IsUntaken,
                    (false, _) => Step::Rest,
                };
                let is_reused =
                    matches!(self.fault, Fault::ReusedAfterCancel | Fault::NoPositionInReusedState);
                if !client.is_withdrawing && is_reused {
                    me.step = Step::Lower;
                    new.open[area] = 0;
                }
                "gives up {} in its entry"
            }
            Step::IsUntaken => {
                let word = state.shared;
                let is_pinned = word == p | PIN && self.fault != Fault::PinIsUntaken;
                me.step = if position(word) <= p && !is_pinned {
                    self.untaken()
                } else if is_pinned {
                    Step::IsTried(0)
                } else {
                    self.taken(me)
                };
                "checks whether {} is untaken"
            }
            Step::IsTried(entry) => {
                me.step = if state.is_tried(entry, p) {
                    next.cover("a withdrawal met a living server's pin");
                    self.taken(me)
                } else if usize::from(entry) + 1 < SERVERS {
                    Step::IsTried(entry + 1)
                } else {
                    Step::IsStill
                };
                "looks for a living server that takes {}"
            }
            Step::IsStill => {
                let is_same = state.shared == p | PIN;
                me.step = if is_same || self.fault == Fault::SharedNotReadAgain {
                    next.cover("a request under a dead server's pin was withdrawn");
                    self.untaken()
                } else {
                    next.cover("the pin moved while words were read");
                    self.taken(me)
                };
                "loads the shared cursor again: {}"
            }
            Step::UndoEntry => {
                if self.fault != Fault::NotUndone {
                    new.given_up = state.given_up.wrapping_sub(1);
                }
                (me.step, me.is_counted) = (Step::UndoCell, false);
                "lowers the count: {} was taken"
            }
            Step::UndoCell => {
                next.cover("a withdrawal was undone");
                new.cells[area].given_up = 0;
                (me.step, me.is_withdrawing) = (Step::Rest, false);
                "clears given_up of the cell of {}"
            }
            Step::NoService => {
                (me.step, me.mode, me.is_withdrawing) = (Step::Rest, Mode::Refused, false);
                new.truth[usize::from(p)].is_refused = true;
                if self.fault == Fault::LoweredEarly {
                    me.is_counted = false;
                    new.given_up = state.given_up.wrapping_sub(1);
                }
                if state.truth[usize::from(p)].is_executed {
                    new.violate(Violation::ExecutedAfterNoService);
                }
                if self.fault == Fault::ReusedAfterNoService {
                    new.client.step = Step::Lower;
                    new.open[area] = 0;
                }
                "ends {} with no service"
            }
            Step::Lower => {
                if client.is_counted && self.fault != Fault::NotLowered {
                    new.given_up = state.given_up.wrapping_sub(1);
                }
                new.client = released(client);
                "lowers the count of given-up calls: {} is resolved"
            }
        };
        next.step(who, text, &[p], new);
    }

    /// Publishes a request, sees an outcome, or begins to look for a loss.
    fn client_rests(&self, state: &State, next: &mut Next<State>) {
        let client = state.client;
        let who = CLIENTS[usize::from(client.area)];
        let area = usize::from(client.area);
        let mut new = *state;
        if client.mode == Mode::Free {
            if client.calls < self.calls {
                let cell = &mut new.cells[area];
                cell.deferred = (0, 0);
                if matches!(self.fault, Fault::NoPositionInState | Fault::NoPositionInReusedState) {
                    cell.state = 0;
                }
                new.open[area] = state.tail + 1;
                new.truth[usize::from(state.tail)] = Truth { area: client.area, ..UNPUBLISHED };
                new.tail += 1;
                new.client.mode = Mode::Open;
                (new.client.p, new.client.calls) = (state.tail, client.calls + 1);
                next.step(who, "publishes the request {}", &[state.tail], new);
            }
            return;
        }
        if self.is_its_state(state.cells[area].state, client.p) {
            self.take_outcome(&mut new);
            next.step(who, "sees the state of {}", &[client.p], new);
        }
        let mut new = *state;
        new.client.step = match self.fault {
            Fault::DeferredReadFirst => Step::LoadDeferred,
            _ => Step::LoadShared,
        };
        if self.fault == Fault::StateReadFirst {
            new.client.seen = state.cells[area].state;
        }
        next.step(who, "has slept, and looks at {}", &[client.p], new);
        if client.mode == Mode::Open && state.self_calls > 0 && position(state.shared) <= client.p {
            let mut new = *state;
            new.self_calls -= 1;
            new.client.is_withdrawing = true;
            new.client.step = self.first_of_withdrawal();
            next.external(who, "finds {} served by its own thread", &[client.p], new);
        }
    }

    fn load_shared(&self, state: &State, next: &mut Next<State>) {
        let client = state.client;
        let who = CLIENTS[usize::from(client.area)];
        let mut new = *state;
        let me = &mut new.client;
        if position(state.shared) > client.p {
            me.step = Step::LoadOwn(0);
            next.step(who, "sees that {} was taken", &[client.p], new);
            return;
        }
        (me.seen, me.deferred, me.step) = (0, (0, 0), Step::Rest);
        if client.mode == Mode::Open && !state.has_servers() {
            me.is_withdrawing = true;
            me.step = self.first_of_withdrawal();
        }
        next.step(who, "sees that {} waits", &[client.p], new);
    }

    fn first_of_withdrawal(&self) -> Step {
        match self.fault {
            Fault::WithdrawChecksFirst => Step::IsUntaken,
            _ => Step::GiveUpCell,
        }
    }

    fn untaken(&self) -> Step {
        match self.fault {
            Fault::WithdrawChecksFirst => Step::GiveUpCell,
            _ => Step::NoService,
        }
    }

    fn taken(&self, me: &mut Client) -> Step {
        if self.fault != Fault::WithdrawChecksFirst {
            return Step::UndoEntry;
        }
        me.is_withdrawing = false;
        Step::Rest
    }

    fn is_its_state(&self, state: u8, p: u8) -> bool {
        match self.fault {
            Fault::NoPositionInState | Fault::NoPositionInReusedState => state != 0,
            _ => state == p + 1,
        }
    }

    /// The call is resolved by the state of its cell.
    fn take_outcome(&self, new: &mut State) {
        let client = new.client;
        let cell = new.cells[usize::from(client.area)];
        let truth = new.truth[usize::from(client.p)];
        let is_its = cell.state == client.p + 1;
        if !is_its || truth.answer != if cell.is_reply { 2 } else { 1 } {
            new.violate(Violation::OutcomeOfAnother);
        }
        new.open[usize::from(client.area)] = 0;
        if client.mode != Mode::Open {
            new.client.step = Step::Lower;
        } else if cell.is_reply {
            new.client.step = Step::Read;
        } else {
            new.client = released(client);
        }
    }

    /// The call is resolved because no server works on it.
    fn lose_call(&self, new: &mut State, next: &mut Next<State>) {
        let client = new.client;
        let truth = new.truth[usize::from(client.p)];
        new.open[usize::from(client.area)] = 0;
        if client.mode != Mode::Open {
            next.cover("a call that was given up was resolved without a state");
            new.client.step = Step::Lower;
            return;
        }
        next.cover("a call ended with service gone");
        if !truth.may_be_gone {
            new.violate(Violation::GoneWithoutReason);
        }
        new.client = released(client);
    }

    /// A server is killed, leaves, or joins in the entry of another one.
    fn server_events(&self, state: &State, entry: usize, next: &mut Next<State>) {
        let server = state.servers[entry];
        let who = NAMES[entry];
        if !server.is_alive {
            if state.joins > 0 {
                let mut new = *state;
                new.joins -= 1;
                new.servers[entry] = Server {
                    is_alive: true,
                    at: At::Begin,
                    incarnation: server.incarnation,
                    late: server.late,
                    ..AWAY
                };
                next.external(who, "joins", &[], new);
            }
            return;
        }
        if state.kills > 0 {
            let mut new = *state;
            new.kills -= 1;
            new.lose(entry);
            new.flush(entry);
            new.flush(entry);
            match server.at {
                At::InFlight | At::Move => next.cover("a server was killed with the pin"),
                At::Serve => next.cover("a server was killed with a request in flight"),
                At::State => next.cover("a server was killed before it stored the state"),
                At::Release => next.cover("a server was killed before it released a request"),
                At::Idle if server.late.is_locked => {
                    next.cover("a server was killed while it wrote a deferred reply");
                }
                _ => {}
            }
            let Server { own, incarnation, .. } = new.servers[entry];
            new.servers[entry] = Server { own, incarnation, ..AWAY };
            next.external(who, "is killed", &[], new);
        }
        if state.leaves > 0 && server.at == At::Idle {
            let mut new = *state;
            new.leaves -= 1;
            new.servers[entry].at = At::Close;
            next.external(who, "leaves", &[], new);
        }
    }

    fn server(&self, state: &State, entry: usize, next: &mut Next<State>) {
        let server = state.servers[entry];
        let who = NAMES[entry];
        let p = server.p;
        let mut new = *state;
        if server.pending != 0 {
            new.flush(entry);
            next.step(who, "has its next store seen", &[], new);
            new = *state;
        }
        // Later stores are seen after the pending ones.
        let is_store = matches!(server.at, At::Payload | At::State | At::Mark | At::Release);
        if server.pending != 0 && is_store {
            return;
        }
        let me = &mut new.servers[entry];
        let text = match server.at {
            At::Away => return,
            At::Begin => {
                me.incarnation += 1;
                me.at = At::Idle;
                "begins the next incarnation"
            }
            At::Idle => return self.server_looks(state, entry, next),
            At::EarlyGivenUp => {
                (me.sees_given_up, me.at) = (state.given_up != 0, At::Pin);
                "loads the count of given-up calls"
            }
            At::Pin if state.shared == p => {
                me.is_for_the_gone = p < state.since;
                me.at = At::InFlight;
                new.shared = p | PIN;
                "pins {}"
            }
            At::Pin => {
                me.at = At::Lost;
                "loses the race for {}"
            }
            At::Lost => {
                me.own = NOWHERE;
                *me = me.idle();
                "clears its word"
            }
            At::InFlight => {
                (me.pending, me.at) = (OWN, At::Move);
                "stores its in-flight word: {}"
            }
            At::Move => {
                me.pending |= SHARED;
                me.at = match self.fault {
                    Fault::GivenUpBeforePin | Fault::GivenUpAfterCaller => At::Caller,
                    Fault::GivenUpIgnored => At::Caller,
                    Fault::SinceBeforeCaller => At::Since,
                    _ => At::GivenUp,
                };
                "moves the shared cursor past {}"
            }
            At::GivenUp => {
                me.sees_given_up = state.given_up != 0;
                me.at = match self.fault {
                    Fault::GivenUpAfterCaller | Fault::SinceBeforeCaller => me.after_loads(),
                    _ => At::Caller,
                };
                "loads the count of given-up calls, for {}"
            }
            At::Caller => {
                me.area = state.caller;
                me.at = match self.fault {
                    Fault::SinceBeforeCaller => At::GivenUp,
                    _ => At::Since,
                };
                "loads the caller of {}"
            }
            At::Since if p < state.since && self.fault != Fault::SinceIgnored => {
                next.cover("a request of a client that left was skipped");
                me.at = At::Release;
                "skips {}: its client has left"
            }
            At::Since => {
                me.at = match self.fault {
                    Fault::SinceBeforeCaller => At::Caller,
                    Fault::GivenUpAfterCaller => At::GivenUp,
                    _ => me.after_loads(),
                };
                "loads since, for {}"
            }
            At::CellGivenUp => {
                let given_up = state.cells[usize::from(server.area)].given_up;
                let is_its = match self.fault {
                    Fault::GivenUpWithoutPosition => given_up != 0,
                    _ => given_up == p + 1,
                };
                me.at = if is_its { At::Release } else { At::Serve };
                if is_its {
                    next.cover("a request that was given up was skipped");
                    // The client gave it up, and may take that back meanwhile.
                    new.truth[usize::from(p)].may_be_gone |= given_up == p + 1;
                }
                "loads given_up of the cell of {}"
            }
            At::Serve => return self.serve(state, entry, next),
            At::Payload => {
                new.store_payload(self, server.area, p);
                new.servers[entry].at = match self.fault {
                    Fault::ReleasedBeforeState => At::Release,
                    Fault::StateBeforePayload => At::Release,
                    _ => At::State,
                };
                "writes the reply to {}"
            }
            At::State => {
                new.store_state(self, server.area, p, server.is_reply);
                let is_first = self.fault == Fault::StateBeforePayload && server.is_reply;
                let me = &mut new.servers[entry];
                me.at = if is_first { At::Payload } else { At::Release };
                if server.is_released {
                    *me = me.idle();
                }
                "stores the state of {}"
            }
            At::Mark => {
                new.wrote(self, server.area, p);
                let mark = (entry as u8 + 1, server.incarnation);
                new.cells[usize::from(server.area)].deferred = mark;
                let me = &mut new.servers[entry];
                me.at = At::Release;
                if server.is_released {
                    *me = me.idle();
                }
                "marks {} as deferred"
            }
            At::Release => {
                me.own = NOWHERE;
                let is_stated = state.truth[usize::from(p)].answer != 0;
                let later = match self.fault {
                    Fault::ReleasedBeforeState if server.is_reply && !is_stated => At::State,
                    Fault::DeferredAfterRelease if server.late.request == p + 1 => At::Mark,
                    _ => At::Idle,
                };
                (me.at, me.is_released) = (later, true);
                if later == At::Idle {
                    *me = me.idle();
                }
                "releases {}"
            }
            At::Close => {
                if self.fault == Fault::NotClosed {
                    me.at = At::Free;
                } else if server.late.is_locked && self.fault != Fault::LeftWithoutLock {
                    return;
                } else {
                    new.lose(entry);
                    let me = &mut new.servers[entry];
                    if server.late.request != 0 {
                        next.cover("a server left with a deferred reply");
                    }
                    if !server.late.is_locked {
                        me.late = NOT_LATE;
                    }
                    me.at = At::Free;
                }
                "closes its deferred replies"
            }
            At::Free => {
                new.lose(entry);
                let Server { incarnation, late, .. } = server;
                new.servers[entry] = Server { incarnation, late, ..AWAY };
                "frees its entry"
            }
        };
        next.step(who, text, &[p], new);
    }

    /// Takes the request at the shared cursor, or clears the pin of a dead server there.
    fn server_looks(&self, state: &State, entry: usize, next: &mut Next<State>) {
        let at = position(state.shared);
        let mut new = *state;
        if state.shared & PIN == 0 {
            if at < state.tail {
                let me = &mut new.servers[entry];
                (me.own, me.p) = (at | PIN, at);
                me.at = match self.fault {
                    Fault::GivenUpBeforePin => At::EarlyGivenUp,
                    _ => At::Pin,
                };
                next.step(NAMES[entry], "tries to take {}", &[at], new);
            }
            return;
        }
        if (0..SERVERS as u8).any(|other| state.is_tried(other, at)) {
            return;
        }
        next.cover("the pin of a dead server was cleared");
        for server in &mut new.servers {
            if !server.is_alive && server.own == at {
                server.own = NOWHERE;
            }
        }
        new.shared = at;
        next.step(NAMES[entry], "clears a dead server's pin at {}", &[at], new);
    }

    /// Executes the request, and replies, drops it, or defers the reply.
    fn serve(&self, state: &State, entry: usize, next: &mut Next<State>) {
        let server = state.servers[entry];
        let p = server.p;
        let mut new = *state;
        let truth = &mut new.truth[usize::from(p)];
        let (was_executed, is_refused) = (truth.is_executed, truth.is_refused);
        truth.is_executed = true;
        if was_executed {
            new.violate(Violation::ExecutedTwice);
        }
        if is_refused {
            new.violate(Violation::ExecutedAfterNoService);
        }
        if server.is_for_the_gone {
            new.violate(Violation::ServedForTheGone);
        }
        new.servers[entry].is_reply = true;
        new.servers[entry].at = match self.fault {
            Fault::StateBeforePayload => At::State,
            _ => At::Payload,
        };
        next.step(NAMES[entry], "serves {} and replies", &[p], new);
        new.servers[entry].is_reply = false;
        new.servers[entry].at = match self.fault {
            Fault::DroppedWithoutState => At::Release,
            _ => At::State,
        };
        next.step(NAMES[entry], "serves {} and drops it", &[p], new);
        if self.defers && server.late.request == 0 {
            let me = &mut new.servers[entry];
            me.late = Late { request: p + 1, area: server.area, ..NOT_LATE };
            me.at = match self.fault {
                Fault::DeferredAfterRelease => At::Release,
                _ => At::Mark,
            };
            next.step(NAMES[entry], "serves {} and defers the reply", &[p], new);
        }
    }

    /// Another thread of a server answers a deferred request.
    fn late(&self, state: &State, entry: usize, next: &mut Next<State>) {
        let server = state.servers[entry];
        let Late { request, area, is_reply, is_locked } = server.late;
        // Not before the server's thread has handed the request over.
        let is_handed_over = server.own == NOWHERE || position(server.own) + 1 != request;
        if request == 0 || !is_handed_over || server.at == At::Mark {
            return;
        }
        let p = request - 1;
        let mut new = *state;
        if is_locked {
            new.store_state(self, area, p, is_reply);
            new.servers[entry].late = NOT_LATE;
            next.cover("a deferred request was answered");
            next.step(LATE[entry], "stores the state of {}", &[p], new);
            return;
        }
        new.servers[entry].late.is_locked = true;
        next.step(LATE[entry], "drops the deferred {}", &[p], new);
        new.servers[entry].late.is_reply = true;
        new.store_payload(self, area, p);
        next.step(LATE[entry], "writes the deferred reply to {}", &[p], new);
    }
}

/// Two calls to two servers.
const CALLS_OF_ONE: Replies = Replies {
    fault: Fault::Nothing,
    servers: 2,
    calls: 2,
    kills: 1,
    joins: 1,
    leaves: 1,
    client_kills: 0,
    client_leaves: 0,
    cancels: 1,
    self_calls: 0,
    defers: true,
    others: 0,
    checks_cells: true,
};

/// One server, which may be the calling thread's own.
const LONE: Replies = Replies { servers: 1, self_calls: 1, ..CALLS_OF_ONE };

/// The client is killed, and succeeded in its publisher entry.
const SUCCEEDED: Replies =
    Replies { servers: 1, leaves: 0, client_kills: 1, defers: false, ..CALLS_OF_ONE };

/// The client leaves, and a client of the same worker joins in its publisher entry.
const LEFT: Replies = Replies { client_kills: 0, client_leaves: 1, ..SUCCEEDED };

#[test]
fn each_call_ends_with_the_outcome_of_its_request() {
    let situations = [
        "a call ended with service gone",
        "a call that was given up was resolved without a state",
        "a call was deferred by a living server",
        "a deferred call was lost",
        "a deferred request was answered",
        "a request that was given up was skipped",
        "a request under a dead server's pin was withdrawn",
        "a server left with a deferred reply",
        "a server was killed before it released a request",
        "a server was killed before it stored the state",
        "a server was killed while it wrote a deferred reply",
        "a server was killed with a request in flight",
        "a server was killed with the pin",
        "a withdrawal met a living server's pin",
        "a withdrawal was undone",
        "the last look found the outcome",
        "the pin moved while words were read",
        "the pin of a dead server was cleared",
    ];
    holds("replies", &CALLS_OF_ONE, &situations);
}

#[test]
fn a_request_that_is_withdrawn_from_a_living_server_is_not_executed() {
    let situations = ["a withdrawal was undone", "a request that was given up was skipped"];
    holds("replies, own server", &Replies { kills: 0, leaves: 0, ..LONE }, &situations);
}

#[test]
fn a_successor_of_a_client_gets_no_outcome_of_its_predecessor() {
    let skipped = "a request of a client that left was skipped";
    let killed = ["a client was killed after no service", "a client was killed in a call", skipped];
    holds("replies, client killed", &SUCCEEDED, &killed);
    holds("replies, client left", &LEFT, &["a client left with a reserved cell", skipped]);
}

#[test]
fn replies_hold_in_larger_scenarios() {
    if is_large() {
        let large = [
            ("two kills", Replies { kills: 2, ..CALLS_OF_ONE }),
            ("own server", Replies { self_calls: 1, ..CALLS_OF_ONE }),
            ("two kills, two joins", Replies { kills: 2, joins: 2, ..LONE }),
            ("three calls", Replies { calls: 3, ..LONE }),
            ("another call given up", Replies { others: 1, ..CALLS_OF_ONE }),
            ("killed and left", Replies { client_leaves: 1, ..SUCCEEDED }),
            ("killed, deferred", Replies { leaves: 1, defers: true, ..SUCCEEDED }),
            ("killed, two servers", Replies { servers: 2, ..SUCCEEDED }),
            ("left, two servers", Replies { servers: 2, ..LEFT }),
        ];
        for (name, replies) in large {
            holds(&format!("replies, {name}"), &replies, &[]);
        }
    }
}

#[track_caller]
fn broken_by(fault: Fault, model: Replies, violation: Violation) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    breaks(&name, &Replies { fault, ..model }, violation);
}

/// The faults that the shortest scenario finds.
const SHORT: Replies = Replies { self_calls: 0, ..LONE };

#[test]
fn a_state_read_before_the_in_flight_words_misses_the_outcome() {
    broken_by(Fault::StateReadFirst, SHORT, Violation::GoneWithoutReason);
}

#[test]
fn a_deferred_word_read_before_the_in_flight_words_is_missed() {
    broken_by(Fault::DeferredReadFirst, SHORT, Violation::GoneWithoutReason);
    broken_by(Fault::DeferredIgnored, SHORT, Violation::GoneWithoutReason);
}

#[test]
fn a_deferred_word_stored_after_the_release_is_missed() {
    broken_by(Fault::DeferredAfterRelease, SHORT, Violation::GoneWithoutReason);
}

#[test]
fn a_request_released_before_its_state_is_taken_for_lost() {
    broken_by(Fault::ReleasedBeforeState, SHORT, Violation::GoneWithoutReason);
    broken_by(Fault::DroppedWithoutState, SHORT, Violation::GoneWithoutReason);
}

#[test]
fn a_state_stored_before_the_payload_shows_another_reply() {
    broken_by(Fault::StateBeforePayload, SHORT, Violation::OutcomeOfAnother);
}

#[test]
fn a_deferred_reply_of_an_earlier_server_must_not_be_waited_for() {
    // These variants break nothing else, so they are explored completely and must be small.
    let one = Replies { calls: 1, cancels: 0, leaves: 0, ..SHORT };
    broken_by(Fault::IncarnationIgnored, one, Violation::CallNeverCompletes);
    broken_by(Fault::LivenessIgnored, one, Violation::CallNeverCompletes);
}

#[test]
fn a_cell_used_again_before_its_call_is_resolved_is_written_to() {
    broken_by(Fault::ReusedAfterCancel, SHORT, Violation::WroteToResolvedCell);
    broken_by(Fault::ReusedAfterNoService, SHORT, Violation::ExecutedAfterNoService);
}

#[test]
fn a_deferred_reply_after_its_server_left_writes_to_a_later_call() {
    broken_by(Fault::NotClosed, SHORT, Violation::WroteToResolvedCell);
    broken_by(Fault::LeftWithoutLock, SHORT, Violation::WroteToResolvedCell);
}

/// The position in the state is a second line of defence: no server writes late, so the state of a
/// call is that of its request. If a server does write late, the position keeps its outcome apart.
#[test]
fn without_positions_a_late_state_answers_a_later_call() {
    let unchecked = Replies { checks_cells: false, leaves: 0, defers: false, ..SHORT };
    broken_by(Fault::NoPositionInReusedState, unchecked, Violation::OutcomeOfAnother);
    let alone = Replies { fault: Fault::NoPositionInState, ..unchecked };
    holds("a state without a position", &Replies { checks_cells: true, ..alone }, &[]);
}

#[test]
fn a_given_up_word_of_an_earlier_call_must_not_skip_a_later_one() {
    let others = Replies { others: 1, ..SHORT };
    broken_by(Fault::GivenUpWithoutPosition, others, Violation::GoneWithoutReason);
}

#[test]
fn a_withdrawn_request_is_executed_unless_the_pin_orders_both_sides() {
    broken_by(Fault::GivenUpBeforePin, SHORT, Violation::ExecutedAfterNoService);
    broken_by(Fault::GivenUpIgnored, SHORT, Violation::ExecutedAfterNoService);
    broken_by(Fault::WithdrawChecksFirst, SHORT, Violation::ExecutedAfterNoService);
    broken_by(Fault::WithdrawUnchecked, SHORT, Violation::ExecutedAfterNoService);
    broken_by(Fault::PinIsUntaken, SHORT, Violation::ExecutedAfterNoService);
    broken_by(Fault::SharedNotReadAgain, SHORT, Violation::ExecutedAfterNoService);
}

#[test]
fn the_count_of_given_up_calls_is_lowered_once_each_is_resolved() {
    broken_by(Fault::NotLowered, SHORT, Violation::CountIsWrong);
    broken_by(Fault::NotUndone, SHORT, Violation::CountIsWrong);
    broken_by(Fault::LoweredEarly, SHORT, Violation::ExecutedAfterNoService);
}

#[test]
fn a_successor_resets_the_count_after_since_and_alone() {
    broken_by(Fault::CountNotReset, SUCCEEDED, Violation::CountIsWrong);
    broken_by(Fault::CountResetFirst, SUCCEEDED, Violation::ExecutedAfterNoService);
    broken_by(Fault::LoweredAfterLeaving, LEFT, Violation::CountIsWrong);
}

#[test]
fn a_count_loaded_after_the_caller_may_be_the_successors() {
    broken_by(Fault::GivenUpAfterCaller, SUCCEEDED, Violation::ExecutedAfterNoService);
    broken_by(Fault::GivenUpAfterCaller, LEFT, Violation::ExecutedAfterNoService);
}

#[test]
fn a_caller_and_its_since_are_stored_and_loaded_in_opposite_orders() {
    broken_by(Fault::CallerBeforeSince, SUCCEEDED, Violation::WroteForAnother);
    broken_by(Fault::SinceBeforeCaller, SUCCEEDED, Violation::WroteForAnother);
    broken_by(Fault::SinceIgnored, SUCCEEDED, Violation::ServedForTheGone);
}
