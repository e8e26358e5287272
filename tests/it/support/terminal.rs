//! A terminal of a test's own: a pseudo terminal with a program on it, and what its screen shows.

use std::{
    fs::File,
    io::{Read, Write},
    num::NonZeroU16,
    os::fd::AsFd,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    thread,
};

use pty_process::{
    Size,
    blocking::{self, Pts, Pty},
};
use rustix::termios::{LocalModes, tcgetattr};
use vt100::Parser;

use super::process::wait_until;

/// A program on a terminal; killed when dropped.
pub struct Terminal {
    pty: Pty,
    /// Kept open, so that its modes can be read when the program has ended.
    pts: Pts,
    child: Child,
    shown: Arc<Mutex<Shown>>,
}

struct Shown {
    screen: Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts a command on a terminal of 100 columns and 24 lines.
    pub fn start(command: &Command) -> Self {
        let (pty, pts) = blocking::open().expect("a pseudo terminal");
        pty.resize(Size::new(24, 100)).expect("it is open");
        let mut on_it = blocking::Command::new(command.get_program()).args(command.get_args()).env("TERM", "xterm-256color");
        for (name, value) in command.get_envs() {
            on_it = match value {
                Some(value) => on_it.env(name, value),
                None => on_it.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            on_it = on_it.current_dir(folder);
        }
        let child = on_it.spawn_borrowed(&pts).expect("the program starts");
        let screen = Parser::new(lines(24), lines(100), 0);
        let shown = Arc::new(Mutex::new(Shown { screen, bytes: Vec::new() }));
        let (mut from, into) = (File::from(pty.as_fd().try_clone_to_owned().expect("a second handle")), shown.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end is an error: no program is left on the terminal.
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let mut shown = into.lock().expect("no panic while held");
                shown.screen.process(&buffer[..length]);
                shown.bytes.extend(&buffer[..length]);
            }
        });
        Self { pty, pts, child, shown }
    }

    /// What it shows.
    pub fn text(&self) -> String {
        self.shown.lock().expect("no panic while held").screen.screen().contents()
    }

    /// All that the program has written.
    pub fn bytes(&self) -> Vec<u8> {
        self.shown.lock().expect("no panic while held").bytes.clone()
    }

    /// Waits until a text is on it.
    pub fn wait_for(&self, text: &str) {
        self.wait_for_that(text, |shown| shown.contains(text));
    }

    pub fn wait_for_that(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let seen = std::cell::RefCell::new(String::new());
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(&format!("{what:?} on the screen"), || {
                *seen.borrow_mut() = self.text();
                holds(&seen.borrow())
            });
        }));
        assert!(outcome.is_ok(), "{what:?} is not on the screen:\n{}", seen.borrow());
    }

    /// Presses keys, as the bytes that they send.
    pub fn press(&self, keys: &str) {
        (&self.pty).write_all(keys.as_bytes()).expect("it is open");
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        self.shown.lock().expect("no panic while held").screen.set_size(lines(rows), lines(columns));
        self.pty.resize(Size::new(rows, columns)).expect("it is open");
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill is there");
        assert!(status.success(), "the program is gone");
    }

    /// Waits for the program's end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the program's end", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// That lines are edited and echoed, and the screen and the cursor are those of before. All that the program wrote has to be read first.
    pub fn assert_restored(&self) {
        let modes = tcgetattr(&self.pts).expect("a terminal").local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG), "{modes:?}");
        wait_until("the screen of before", || {
            let shown = self.shown.lock().expect("no panic while held");
            let screen = shown.screen.screen();
            !screen.alternate_screen() && !screen.hide_cursor()
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("some")
}
