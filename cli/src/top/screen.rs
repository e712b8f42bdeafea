//! The screen of `top`: a table of rings, and the endpoints of the selected one.

use super::columns::{ENDPOINT_COLUMNS, LATENCY, RING_COLUMNS};
use super::model::{Column, Row, View};
use crate::text::{self, plain};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row as TableRow, Table, TableState, Wrap};

/// What the user chose, and what is shown.
#[derive(Debug, Default)]
pub(super) struct Screen {
    pub(super) view: View,
    pub(super) sort: Column,
    pub(super) filter: String,
    /// Keys go to the filter.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    pub(super) has_colors: bool,
    pub(super) table: TableState,
    /// The last error of a snapshot.
    pub(super) error: Option<String>,
}

const HELP: &str = "\
s      order by the next column            up, down  select a ring
/      filter by name or kind, Enter ends  p, space  pause
?      this help, Esc closes it            q, Esc    quit
Esc    clears the filter, if there is one

Each line is a ring. PACKETS/S: packets that its publishers send. FULL: the part of the ring that no
reader has released. BLOCKED: the part of the time that a publisher sleeps, as the ring is full.
BEHIND: packets that the slowest reader has ahead. MISSED: packets that readers lost, if the ring
drops the oldest. WAKES/S: notifications of sleeping endpoints. Red and !: a reader leaves the
publishers no room, and they wait for it or soon will; the order by rate has these rings first.
P50, P99: latencies, while `packetring latency` samples them.
The lower part shows the endpoints of the selected ring.
TOTAL: packets since the endpoint joined. BLOCKED of a reader: it sleeps until packets come.";

impl Screen {
    /// The rings that fit the filter, in order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let fits = |row: &&Row| row.name.contains(&self.filter) || row.kind == self.filter;
        self.view.rings.iter().filter(fits).collect()
    }

    /// Replaces the figures. The selected ring stays selected.
    pub(super) fn update(&mut self, mut view: View) {
        let selected = self.selected().map(|row| row.name.clone());
        self.sort.sort(&mut view.rings);
        self.view = view;
        self.select(selected);
    }

    /// Orders by the next column.
    pub(super) fn sort_by_next(&mut self) {
        let selected = self.selected().map(|row| row.name.clone());
        self.sort = self.sort.next();
        self.sort.sort(&mut self.view.rings);
        self.select(selected);
    }

    /// The selected ring.
    fn selected(&self) -> Option<&Row> {
        self.rows().get(self.table.selected()?).copied()
    }

    fn select(&mut self, name: Option<String>) {
        let rows = self.rows();
        let index = name.and_then(|name| rows.iter().position(|row| row.name == name));
        let last = rows.len().checked_sub(1);
        self.table.select(index.or(last.map(|_| 0)));
    }

    /// Draws all.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let endpoints = self.selected().map_or(0, |row| row.endpoints.len());
        let width = usize::from(frame.area().width).saturating_sub(2);
        let sentence = self.selected().and_then(finding).map_or(0, |text| lines(&text, width));
        let lower = (endpoints + 3 + sentence.max(2)).clamp(6, 16) as u16;
        let areas = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(4),
            Constraint::Length(lower),
            Constraint::Length(1),
        ]);
        let [head, rings, details, foot] = areas.areas(frame.area());
        frame.render_widget(self.head(), head);
        if self.shows_help {
            let help = Paragraph::new(HELP).wrap(Wrap { trim: false });
            frame.render_widget(help.block(Block::bordered().title(" help ")), rings);
        } else {
            let table = self.rings(rings.width);
            let mut state = self.table;
            frame.render_stateful_widget(table, rings, &mut state);
            self.table = state;
        }
        self.draw_details(frame, details);
        frame.render_widget(self.foot(), foot);
    }

    fn style(&self, color: Color) -> Style {
        if self.has_colors { Style::new().fg(color) } else { Style::new() }
    }

    fn head(&self) -> Line<'static> {
        let rows = self.rows();
        let held = rows.iter().filter(|row| row.blocker.is_some()).count();
        let dead: usize = rows.iter().map(|row| row.dead).sum();
        let title = Span::styled("packetring top", Style::new().add_modifier(Modifier::BOLD));
        let sum = format!(
            "  {}  {}/s",
            text::count(rows.len(), "ring"),
            text::bytes(self.view.bytes_per_second as u64)
        );
        let mut spans = vec![title, Span::raw(sum)];
        if held > 0 {
            spans.push(Span::styled(format!("  {held} held back"), self.style(Color::Red)));
        }
        if dead > 0 {
            spans.push(Span::styled(format!("  {dead} dead"), self.style(Color::Yellow)));
        }
        if !self.view.unread.is_empty() {
            let unread = format!("  not shown: {}", self.view.unread.join("; "));
            spans.push(Span::styled(plain(&unread).into_owned(), self.style(Color::Yellow)));
        }
        if self.is_paused {
            spans.push(Span::styled("  paused", self.style(Color::Yellow)));
        }
        Line::from(spans)
    }

    fn foot(&self) -> Line<'static> {
        if let Some(error) = &self.error {
            return Line::styled(plain(error).into_owned(), self.style(Color::Red));
        }
        let filter = match (self.is_typing, self.filter.is_empty()) {
            (true, _) => format!("filter: {}_  (Enter ends, Esc clears)", self.filter),
            (false, false) => format!("filter: {} (Esc clears)", self.filter),
            (false, true) => "no filter".to_owned(),
        };
        let keys = format!(
            "order: {}   {filter}   s order  / filter  p pause  ? help  q quit",
            self.sort.name()
        );
        Line::from(plain(&keys).into_owned())
    }

    /// The table of rings. A narrow screen leaves out columns.
    fn rings(&self, width: u16) -> Table<'static> {
        let is_sampled = self.view.rings.iter().any(|row| row.latency.is_some());
        let columns = RING_COLUMNS.iter().filter(|column| column.least_screen <= width);
        let columns: Vec<_> =
            columns.filter(|column| is_sampled || !LATENCY.contains(&column.name)).collect();
        let widths = Layout::horizontal(columns.iter().map(|column| column.width))
            .spacing(1)
            .split(Rect::new(0, 0, width, 1));
        let rows = self.rows().into_iter().map(|row| {
            let cells = columns.iter().zip(&*widths);
            let cells =
                cells.map(|(column, area)| Cell::from((column.text)(row, usize::from(area.width))));
            let style = match (&row.blocker, row.dead + row.stopped, row.missed_per_second > 0.0) {
                (Some(_), ..) => self.style(Color::Red),
                (None, 1.., _) | (None, _, true) => self.style(Color::Yellow),
                _ => Style::new(),
            };
            TableRow::new(cells).style(style)
        });
        let rows: Vec<_> = rows.collect();
        let names = columns.iter().map(|column| Cell::from(column.name));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let header = TableRow::new(names).style(bold);
        Table::new(rows, widths.iter().map(|area| Constraint::Length(area.width)))
            .header(header)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
            .column_spacing(1)
    }

    fn draw_details(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(row) = self.selected() else {
            let text = match self.filter.is_empty() || self.view.rings.is_empty() {
                true if !self.view.unread.is_empty() => {
                    format!("no ring to show; not shown: {}", self.view.unread.join("; "))
                }
                true => "no ring is there: start a program, or see `packetring ls`".to_owned(),
                false => format!("no ring fits `{}` (Esc clears)", plain(&self.filter)),
            };
            frame.render_widget(Paragraph::new(text).block(Block::bordered()), area);
            return;
        };
        let block = Block::bordered().title(format!(" {} ", plain(&row.name)));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let blocker = finding(row);
        let width = usize::from(inner.width);
        let height = blocker.as_ref().map_or(0, |text| lines(text, width).max(2)) as u16;
        let [table, sentence] =
            Layout::vertical([Constraint::Min(1), Constraint::Length(height)]).areas(inner);
        let columns: Vec<_> = ENDPOINT_COLUMNS
            .iter()
            .filter(|(_, _, least_width, _)| usize::from(*least_width) <= width)
            .collect();
        let rows = row.endpoints.iter().map(|one| {
            let style = match one.state {
                "stopped" | "dead" => self.style(Color::Red),
                "away" => self.style(Color::Yellow),
                _ => Style::new(),
            };
            TableRow::new(columns.iter().map(|(.., text)| Cell::from(text(one)))).style(style)
        });
        let rows: Vec<_> = rows.collect();
        let names = columns.iter().map(|(name, ..)| Cell::from(*name));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let header = TableRow::new(names).style(bold);
        let widths = columns.iter().map(|(_, width, ..)| *width);
        frame.render_widget(Table::new(rows, widths).header(header), table);
        if let Some(blocker) = blocker {
            let text = Paragraph::new(blocker).style(self.style(Color::Red));
            frame.render_widget(text.wrap(Wrap { trim: true }), sentence);
        }
    }
}

/// The endpoint that holds the publishers back, and what to do.
fn finding(row: &Row) -> Option<String> {
    let blocker = row.blocker.as_ref()?;
    Some(plain(&format!("{}; {}", blocker.sentence(), blocker.remedy(&row.name))).into_owned())
}

/// The lines that a text takes, broken between words.
fn lines(text: &str, width: usize) -> usize {
    let (mut lines, mut used) = (1, 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if used > 0 && used + 1 + len > width {
            (lines, used) = (lines + 1, len);
        } else {
            used += len + usize::from(used > 0);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counts;
    use crate::rings::{Backlog, Blocker};
    use crate::top::endpoints::Endpoint;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn view() -> View {
        let backlog = Some(Backlog { packets: Some(14), slots: 14 });
        let blocker = Blocker {
            endpoint: "subscriber 0".to_owned(),
            pid: Some(813),
            worker: None,
            is_alive: true,
            is_stopped: true,
            is_durable: false,
            backlog,
            free_slots: 2,
            slots: 16,
        };
        let reader = Endpoint {
            role: "subscriber 0".to_owned(),
            pid: 813,
            state: "stopped",
            counters: Counts { packets: 1_204_511, ..Counts::default() },
            lag: backlog,
            ..Endpoint::default()
        };
        let slow = Row {
            name: "prices".to_owned(),
            kind: "ring",
            fill: Some(0.875),
            backlog,
            writers: 1,
            readers: 1,
            blocker: Some(blocker),
            endpoints: vec![reader],
            history: vec![7.0, 3.0, 0.0],
            ..Row::default()
        };
        let fast = Row {
            name: "shop/topic/quotes".to_owned(),
            kind: "topic",
            slots_per_second: 1_234_567.0,
            packets_per_second: 1_234_567.0,
            bytes_per_second: 1_234_567.0 * 64.0,
            history: vec![1.0, 2.0, 4.0],
            ..Row::default()
        };
        View {
            seconds: 1.0,
            bytes_per_second: 1_234_567.0 * 64.0,
            rings: vec![slow, fast],
            ..View::default()
        }
    }

    fn drawn(screen: &mut Screen) -> String {
        drawn_at(screen, 140)
    }

    fn drawn_at(screen: &mut Screen, width: u16) -> String {
        let backend = TestBackend::new(width, 14);
        let Ok(mut terminal) = Terminal::new(backend);
        let Ok(_) = terminal.draw(|frame| screen.draw(frame));
        let lines = terminal.backend().buffer().content().chunks(width.into()).map(|line| {
            let line: String = line.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_screen_names_the_reader_that_holds_publishers_back() {
        let mut screen = Screen::default();
        screen.update(view());
        // Each line is what a terminal of 140 columns shows.
        insta::assert_snapshot!(drawn(&mut screen), @r"
packetring top  2 rings  75.4 MiB/s  1 held back
  RING                  KIND    PACKETS/S BYTES/S   LAST     FULL BLOCKED BEHIND   WRITERS READERS MISSED STATE
! prices                ring    0         0 B       █▄▁      88%  0%      14       1       1       0      held back by process 813 (stopped)
  shop/topic/quotes     topic   1235k     75.4 MiB  ▃▅█      -    0%      -        0       0       0



┌ prices ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
│ENDPOINT                       PID      WORKER                         STATE    PACKETS/S BYTES/S   TOTAL      BLOCKED BEHIND     MISSED  │
│subscriber 0                   813      -                              stopped  0         0 B       1204511    0%      14         0       │
│subscriber 0 of process 813 (stopped) holds the publishers back: 14 packets behind, 2 of 16 slots free; continue or end the process: kill │
│-CONT 813                                                                                                                                 │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
order: rate   no filter   s order  / filter  p pause  ? help  q quit
");
    }

    #[test]
    fn the_selected_ring_stays_selected_in_another_order() {
        let mut screen = Screen::default();
        let mut calm = view();
        calm.rings[0].blocker = None;
        screen.update(calm);
        assert_eq!(screen.selected().map(|row| row.kind), Some("topic"));
        screen.sort_by_next();
        assert_eq!((screen.sort, screen.table.selected()), (Column::Name, Some(1)));
        screen.filter = "ring".to_owned();
        screen.update(view());
        assert_eq!(screen.selected().map(|row| row.name.as_str()), Some("prices"));
        assert!(!drawn(&mut screen).contains("quotes"));
        screen.filter = "nothing".to_owned();
        screen.update(view());
        assert!(drawn(&mut screen).contains("no ring fits `nothing` (Esc clears)"));
        screen.update(View::default());
        assert!(drawn(&mut screen).contains("no ring is there"));
    }

    #[test]
    fn no_width_cuts_a_process_id() {
        for width in 12..150 {
            let mut view = view();
            let ring = &mut view.rings[0];
            ring.endpoints[0].pid = 7_654_321;
            if let Some(blocker) = &mut ring.blocker {
                blocker.pid = Some(7_654_321);
            }
            let mut screen = Screen::default();
            screen.update(view);
            let drawn = drawn_at(&mut screen, width);
            let numbers = drawn.split(|c: char| !c.is_ascii_digit());
            let cut = numbers.filter(|number| number.starts_with("76"));
            for number in cut {
                assert_eq!(number, "7654321", "{width}: {drawn}");
            }
            if width >= 40 {
                assert!(drawn.contains("-CONT") || width < 60, "{width}: {drawn}");
                let line = drawn.lines().find(|line| line.starts_with("! p"));
                let line = line.unwrap_or_default();
                assert!(line.contains("7654321") || line.contains('…'), "{width}: {drawn}");
            }
        }
    }
}
