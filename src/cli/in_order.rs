//! Work done on every core, with its results in the order of the work.

use std::{
    collections::VecDeque,
    mem,
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

/// So many batches are begun for each thread: a long one does not leave the others idle.
const AHEAD: usize = 4;

/// So many bytes of pieces may be in memory, before another is asked for. A piece that is larger is alone.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Pieces go to another thread together until they have this size, in bytes: the way there and back costs as much as a small one.
const BATCH: usize = 32 * 1024;

/// Does `work` on every piece that `feed` gives to its argument with its size, as many at once as there are cores, and gives each result to
/// `take` on the caller's thread, in the order of the pieces.
///
/// # Panics
/// When `work` does.
pub(super) fn in_order<T: Send, R: Send>(
    work: impl Fn(T) -> R + Sync,
    feed: impl FnOnce(&mut dyn FnMut(T, usize)),
    mut take: impl FnMut(R),
) {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let (batches, queue) = mpsc::channel::<(Vec<T>, SyncSender<Vec<R>>)>();
    let queue = Mutex::new(queue);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let worker = || {
        while let Ok((batch, results)) = next() {
            // After a panic of `take`, the other end is gone.
            let _ = results.send(batch.into_iter().map(&work).collect());
        }
    };
    thread::scope(|scope| {
        // A worker that panicked sends nothing; the scope panics in its place.
        let mut take = |results: Receiver<Vec<R>>| results.recv().into_iter().flatten().for_each(&mut take);
        let (mut begun, mut bytes_begun, mut threads) = (VecDeque::new(), 0, 0);
        let mut begin = |batch, bytes| {
            if threads < cores {
                scope.spawn(worker);
                threads += 1;
            }
            let (results, coming) = mpsc::sync_channel(1);
            let _ = batches.send((batch, results));
            begun.push_back((coming, bytes));
            bytes_begun += bytes;
            while begun.len() > AHEAD * cores || bytes_begun > MOST_BYTES {
                let Some((results, bytes)) = begun.pop_front() else { break };
                take(results);
                bytes_begun -= bytes;
            }
        };
        let (mut batch, mut size) = (Vec::new(), 0);
        feed(&mut |piece, bytes| {
            batch.push(piece);
            size += bytes;
            if size >= BATCH {
                begin(mem::take(&mut batch), mem::take(&mut size));
            }
        });
        begin(batch, size);
        drop(batches);
        begun.into_iter().for_each(|(results, _)| take(results));
    });
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, thread, time::Duration};

    use super::{BATCH, MOST_BYTES, in_order};

    #[test]
    fn results_come_in_the_order_of_the_pieces() {
        let mut results = Vec::new();
        let slow_first = |piece: u64| {
            thread::sleep(Duration::from_millis(if piece.is_multiple_of(16) { 5 } else { 0 }));
            piece * 2
        };
        let sizes = [0, 1, BATCH, BATCH / 3].into_iter().cycle();
        in_order(slow_first, |give| (0..500).zip(sizes).for_each(|(piece, size)| give(piece, size)), |result| results.push(result));
        assert_eq!(results, (0..500).map(|piece| piece * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_large_piece_is_alone() {
        let known = Cell::new(0);
        let feed = |give: &mut dyn FnMut(usize, usize)| {
            for piece in 0..10 {
                assert_eq!(known.get(), piece, "the results of all before it");
                give(piece, MOST_BYTES + 1);
            }
        };
        in_order(|piece| piece, feed, |piece| known.set(piece + 1));
        assert_eq!(known.get(), 10);
    }

    #[test]
    fn without_pieces_there_are_no_results() {
        in_order(|()| (), |_| (), |()| unreachable!("nothing was given"));
    }
}
