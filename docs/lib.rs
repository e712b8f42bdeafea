//! The code blocks of the guide as documentation tests: `cargo test -p packetring-docs`.

/// A module for each page.
macro_rules! pages {
    ($($page:ident = $file:literal;)*) => {$(
        #[cfg(doctest)]
        #[doc = include_str!($file)]
        mod $page {}
    )*};
}

pages! {
    overview = "guide/overview.md";
    first_program = "guide/first-program.md";
    packets = "guide/packets.md";
    dynamic = "guide/dynamic.md";
    topics = "guide/topics.md";
    inboxes = "guide/inboxes.md";
    queues = "guide/queues.md";
    services = "guide/services.md";
    events = "guide/events.md";
    waiting = "guide/waiting.md";
    event_loops = "guide/event-loops.md";
    descriptors = "guide/descriptors.md";
    latest = "guide/latest.md";
    overflow = "guide/overflow.md";
    crashes = "guide/crashes.md";
    deploys = "guide/deploys.md";
    containers = "guide/containers.md";
    threads = "guide/threads.md";
    large_data = "guide/large-data.md";
    tuning = "guide/tuning.md";
    operating = "guide/operating.md";
    tracing = "guide/tracing.md";
    command = "guide/command.md";
    from_pm2 = "guide/from-pm2.md";
    from_channels = "guide/from-channels.md";
    from_iceoryx2 = "guide/from-iceoryx2.md";
    from_aeron = "guide/from-aeron.md";
}
