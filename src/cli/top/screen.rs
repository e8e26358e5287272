//! The terminal while it is ours, and what happens meanwhile: keys, samples, signals.

use std::{
    io::{IsTerminal, stdout},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{Event, EventStream, KeyEventKind},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    board::{Board, BucketsReport},
    looking::Looked,
    view::{self, Theme},
};
use crate::{
    cli::{exit::Exit, signals::Signals, wants_color},
    proxy::live::Live,
};

/// A sample or why there is none, and when.
type Seen = (Result<Live, String>, Instant);

/// A terminal in raw mode, on its other screen. However this ends, by a panic too, it is as it was.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> anyhow::Result<Self> {
        if !stdout().is_terminal() {
            bail!("stdout is no terminal: add --once for one table, or --once --output json");
        }
        Ok(Self(ratatui::try_init().inspect_err(|_| ratatui::restore()).context("the terminal cannot be drawn on: try --once")?))
    }

    fn draw(&mut self, board: &Board, theme: Theme) -> anyhow::Result<()> {
        self.0.draw(|frame| view::draw(frame, board, Instant::now(), theme)).context("the terminal is gone")?;
        Ok(())
    }

    fn page(&self, board: &Board) -> usize {
        let height = self.0.size().map_or(0, |size| size.height);
        view::page(height, board.trouble(Instant::now()).is_some())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows what is looked at until told to end.
pub(super) async fn run(looked: Looked, every: Duration) -> anyhow::Result<Exit> {
    let mut signals = Signals::watch()?;
    let (mut screen, mut board) = (Screen::open()?, Board::new(looked.name()));
    let theme = Theme { colors: wants_color() };
    let (tell, mut samples) = mpsc::channel(1);
    let (pause, paused) = watch::channel(false);
    let mut looking = JoinSet::new();
    looking.spawn(keep_looking(looked, every, paused, tell));
    let mut events = EventStream::new();
    // Ages grow while nothing happens.
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        screen.draw(&board, theme)?;
        tokio::select! {
            event = events.next() => match event.context("the terminal is gone")?.context("no keys can be read")? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if board.key(key, screen.page(&board)) == BucketsReport::Quit {
                        return Ok(Exit::Clean);
                    }
                    pause.send_if_modified(|paused| std::mem::replace(paused, board.paused) != board.paused);
                }
                // The next drawing looks at the size.
                _ => {}
            },
            seen = samples.recv() => {
                let (sample, at) = seen.context("nobody looks any more")?;
                board.take(sample, at);
            }
            _ = ticks.tick() => {}
            () = signals.told() => return Ok(Exit::Clean),
        }
    }
}

/// Looks again and again, but while paused.
async fn keep_looking(looked: Looked, every: Duration, mut paused: watch::Receiver<bool>, tell: mpsc::Sender<Seen>) {
    while paused.wait_for(|paused| !paused).await.is_ok() {
        let began = Instant::now();
        let sample = looked.look().await.map_err(|error| format!("{error:#}"));
        if tell.send((sample, Instant::now())).await.is_err() {
            return;
        }
        sleep(every.saturating_sub(began.elapsed())).await;
    }
}
