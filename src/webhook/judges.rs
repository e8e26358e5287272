//! Judging away from the threads that serve everyone, for reviews that can take long.
//!
//! Few run at once, and of one client (a namespace) only one, so that a client that sends many waits for itself and not the others for it.
//! Once begun, work cannot be cancelled: it runs to its end when its caller has given up, and what it owns, such as its permits and its
//! body, is returned only then.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

/// Two leave one for everyone else while a client keeps one busy; more would only share the same CPUs and hold more memory.
const AT_ONCE: usize = 2;

/// A small pool of threads, shared fairly.
#[derive(Debug)]
pub(super) struct Judges {
    threads: Arc<Semaphore>,
    /// One permit for each client that has work.
    turns: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// The process ends, and no more work is begun.
#[derive(Debug)]
pub(super) struct Ending;

impl Judges {
    pub(super) fn new() -> Self {
        Self { threads: Arc::new(Semaphore::new(AT_ONCE)), turns: Mutex::default() }
    }

    /// Runs work of a client when it is that client's turn. A caller that leaves before takes the work along.
    pub(super) async fn run<T: Send + 'static>(&self, client: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Ending> {
        // In this order, each client has one that waits for a thread, and those are served first come, first served.
        let turn = permit(self.turns_of(client)).await?;
        let thread = permit(self.threads.clone()).await?;
        let run = spawn_blocking(move || {
            let _until_done = (turn, thread);
            work()
        });
        run.await.map_err(|failed| match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Ending,
        })
    }

    fn turns_of(&self, client: &str) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(client).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Semaphore::new(1));
        turns.insert(client.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

async fn permit(semaphore: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Ending> {
    semaphore.acquire_owned().await.map_err(|_| Ending)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        time::Duration,
    };

    use tokio::{task::JoinHandle, time::timeout};

    use super::*;

    /// Work that says when it begins, and ends when it is released.
    fn begin(judges: &Arc<Judges>, client: &'static str, owned: Arc<()>) -> (JoinHandle<Result<(), Ending>>, Receiver<()>, Sender<()>) {
        let ((begins, begun), (end, ends)) = (channel(), channel());
        let judges = judges.clone();
        let run = async move {
            let work = move || {
                let _owned = owned;
                let _ = begins.send(());
                let _ = ends.recv();
            };
            judges.run(client, work).await
        };
        (tokio::spawn(run), begun, end)
    }

    const SOON: Duration = Duration::from_secs(30);
    const A_WHILE: Duration = Duration::from_millis(100);

    #[tokio::test(flavor = "multi_thread")]
    async fn one_client_leaves_room_for_the_others() {
        let judges = Arc::new(Judges::new());
        let (_first, begun, end) = begin(&judges, "a", Arc::default());
        begun.recv_timeout(SOON).expect("begun");
        let others: Vec<_> = (0..5).map(|_| begin(&judges, "a", Arc::default())).collect();
        tokio::time::sleep(A_WHILE).await;
        assert!(others.iter().all(|(_, begun, _)| begun.try_recv().is_err()), "a client is judged twice at once");
        let (of_another, begun, end_it) = begin(&judges, "b", Arc::default());
        begun.recv_timeout(SOON).expect("another client does not wait");
        drop(end_it);
        of_another.await.expect("no panic").expect("done");
        drop(end);
        drop(others);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_keeps_what_it_owns_until_it_is_over() {
        let judges = Arc::new(Judges::new());
        let owned = Arc::new(());
        let (caller, begun, end) = begin(&judges, "a", owned.clone());
        begun.recv_timeout(SOON).expect("begun");
        caller.abort();
        assert!(caller.await.expect_err("aborted").is_cancelled());
        let (mut next, begun_next, end_next) = begin(&judges, "a", Arc::default());
        timeout(A_WHILE, &mut next).await.expect_err("the client's turn is not over");
        assert!(begun_next.try_recv().is_err());
        assert_eq!(Arc::strong_count(&owned), 2, "still owned by the work");
        drop((end, end_next));
        next.await.expect("no panic").expect("its turn came");
        assert_eq!(Arc::strong_count(&owned), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_no_one_waits_for_is_not_begun() {
        let judges = Arc::new(Judges::new());
        let owned = Arc::new(());
        let (_first, begun, end) = begin(&judges, "a", Arc::default());
        begun.recv_timeout(SOON).expect("begun");
        let (caller, begun, _end) = begin(&judges, "a", owned.clone());
        tokio::time::sleep(A_WHILE).await;
        caller.abort();
        assert!(caller.await.expect_err("aborted").is_cancelled());
        assert_eq!(Arc::strong_count(&owned), 1, "dropped with its caller");
        drop(end);
        assert!(begun.recv_timeout(SOON).is_err(), "it never begins");
    }

    #[tokio::test]
    async fn clients_without_work_are_forgotten() {
        let judges = Judges::new();
        for client in 0..100 {
            judges.run(&client.to_string(), || ()).await.expect("done");
        }
        assert_eq!(judges.turns.lock().expect("no panic while held").len(), 1);
    }
}
