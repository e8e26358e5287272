//! The terminal in raw mode, and its events: keys, samples, signals.

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
    board::{Board, Effect},
    looking::Looked,
    view::{self, Theme},
};
use crate::{
    cli::{exit::Exit, output::wants_color, signals::Signals},
    proxy::live::Live,
};

/// A sample or an error, and its time.
type Seen = (Result<Live, String>, Instant);

/// A terminal in raw mode, on the alternate screen. It is restored on drop, also after a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> anyhow::Result<Self> {
        if !stdout().is_terminal() {
            bail!("stdout is not a terminal: add --once for one table, or --once --output json");
        }
        Ok(Self(ratatui::try_init().inspect_err(|_| ratatui::restore()).context("cannot draw on the terminal: try --once")?))
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

/// Shows samples until a key or a signal ends it.
pub(super) async fn run(looked: Looked, every: Duration) -> anyhow::Result<Exit> {
    let mut signals = Signals::watch()?;
    let (mut screen, mut board) = (Screen::open()?, Board::new(looked.name()));
    let theme = Theme { colors: wants_color() };
    let (send, mut samples) = mpsc::channel(1);
    let (pause, paused) = watch::channel(false);
    let mut looking = JoinSet::new();
    looking.spawn(keep_looking(looked, every, paused, send));
    let mut events = EventStream::new();
    // Ages grow while nothing happens.
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        screen.draw(&board, theme)?;
        tokio::select! {
            event = events.next() => match event.context("the terminal is gone")?.context("cannot read keys")? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if board.key(key, screen.page(&board)) == Effect::Quit {
                        return Ok(Exit::Clean);
                    }
                    pause.send_if_modified(|paused| std::mem::replace(paused, board.paused) != board.paused);
                }
                // The next draw reads the size.
                _ => {}
            },
            seen = samples.recv() => {
                let (sample, at) = seen.context("sampling has stopped")?;
                board.take(sample, at);
            }
            _ = ticks.tick() => {}
            () = signals.received() => return Ok(Exit::Clean),
        }
    }
}

/// Takes samples repeatedly, except while paused.
async fn keep_looking(looked: Looked, every: Duration, mut paused: watch::Receiver<bool>, send: mpsc::Sender<Seen>) {
    while paused.wait_for(|paused| !paused).await.is_ok() {
        let began = Instant::now();
        let sample = looked.look().await.map_err(|error| format!("{error:#}"));
        if send.send((sample, Instant::now())).await.is_err() {
            return;
        }
        sleep(every.saturating_sub(began.elapsed())).await;
    }
}
