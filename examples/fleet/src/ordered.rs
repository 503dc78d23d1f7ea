//! Work on many threads whose results come in the order in which it was given.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use crate::error::Error;

/// How many things may wait for a worker: enough that it never does while names are found.
const WAITING: usize = 4;

/// How many results may wait to be taken, beside the one that the worker has in hand: each is a whole trip.
const DONE: usize = 1;

/// Does `work` on everything that `source` gives, on so many threads (at least one), and hands the results to `take` on this thread, in
/// the order of `source`.
///
/// The thing at place *i* goes to worker *i* mod `workers`, so that results are in order without being sorted, and no more of them exist at a time than
/// three for each worker. It ends early when `take` fails; then `source` is told to stop, and what workers have in hand is done and dropped.
///
/// # Errors
/// What `take` says, else what `source` says; [`Error::Worker`] when a thread cannot be started or `work` or `source` panics.
pub(crate) fn in_order<I: Send, O: Send>(
    workers: usize,
    source: impl FnOnce(&mut dyn FnMut(I) -> ControlFlow<()>) -> Result<(), Error> + Send,
    work: impl Fn(I) -> O + Sync,
    mut take: impl FnMut(O) -> Result<(), Error>,
) -> Result<(), Error> {
    thread::scope(|scope| {
        let mut inputs: Vec<SyncSender<I>> = Vec::new();
        let mut outputs: Vec<Receiver<O>> = Vec::new();
        let mut threads = Vec::new();
        for _ in 0..workers.max(1) {
            let (input, given) = sync_channel(WAITING);
            let (done, output) = sync_channel(DONE);
            let work = &work;
            let worker = move || {
                // Whoever takes the results is gone when one cannot be handed over.
                let _ = given.into_iter().try_for_each(|thing| done.send(work(thing)));
            };
            threads.push(
                thread::Builder::new()
                    .name("trip".to_owned())
                    .spawn_scoped(scope, worker)
                    .map_err(no_thread)?,
            );
            inputs.push(input);
            outputs.push(output);
        }
        let finder = move || {
            let mut places = inputs.iter().cycle();
            source(&mut |thing| match places.next().map(|place| place.send(thing)) {
                Some(Ok(())) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            })
        };
        let finder =
            thread::Builder::new().name("find".to_owned()).spawn_scoped(scope, finder).map_err(no_thread)?;

        let mut results = outputs.iter().cycle().map_while(|output| output.recv().ok());
        let taken = results.try_for_each(&mut take);
        drop(outputs);
        let found = ended(finder);
        let worked: Result<Vec<()>, Error> = threads.into_iter().map(ended).collect();
        taken?;
        worked?;
        found?
    })
}

fn ended<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T, Error> {
    thread.join().map_err(|panic| Error::Worker(said(&*panic)))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn no_thread(error: std::io::Error) -> Error {
    Error::Worker(error.to_string())
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it gave no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(to: u32) -> impl FnOnce(&mut dyn FnMut(u32) -> ControlFlow<()>) -> Result<(), Error> + Send {
        move |give| match (0..to).try_for_each(give) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }

    #[test]
    fn results_come_in_the_order_in_which_the_work_was_given() {
        for workers in [0, 1, 2, 3, 8] {
            for count in [0, 1, 2, 7, 8, 500] {
                let mut taken = Vec::new();
                let work = |number: u32| {
                    // The later ones of a round are done first.
                    (0..(7 - number % 7) * 200).fold(number, |sum, _| std::hint::black_box(sum))
                };
                in_order(workers, numbers(count), work, |number| {
                    taken.push(number);
                    Ok(())
                })
                .unwrap();
                assert!(taken.iter().copied().eq(0..count), "{workers} workers, {count} things");
            }
        }
    }

    #[test]
    fn what_is_taken_may_end_it_and_its_error_counts() {
        let mut taken = 0;
        let ended = in_order(
            3,
            numbers(u32::MAX),
            |number| number,
            |number| {
                taken += 1;
                if number == 100 { Err(Error::Worker("enough".to_owned())) } else { Ok(()) }
            },
        );
        assert!(matches!(ended, Err(Error::Worker(why)) if why == "enough"));
        assert_eq!(taken, 101);
    }

    #[test]
    fn an_error_of_the_source_comes_after_all_that_it_gave() {
        let source = |give: &mut dyn FnMut(u32) -> ControlFlow<()>| {
            let _ = give(1);
            Err(Error::Data { path: "x".into(), problem: "gone".to_owned() })
        };
        let mut taken = Vec::new();
        let ended = in_order(
            2,
            source,
            |number| number,
            |number| {
                taken.push(number);
                Ok(())
            },
        );
        assert!(matches!(ended, Err(Error::Data { .. })));
        assert_eq!(taken, [1]);
    }

    #[test]
    fn a_worker_that_breaks_is_an_error_and_nobody_waits_for_it() {
        let ended = in_order(2, numbers(u32::MAX), |number| assert_ne!(number, 50, "broken"), |()| Ok(()));
        let Err(Error::Worker(why)) = ended else { panic!("{ended:?}") };
        assert!(why.contains("broken"), "{why}");
    }
}
