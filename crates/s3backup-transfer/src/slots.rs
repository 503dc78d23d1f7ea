//! A gate that lets so many requests through at a time, and learns from how they end how many that should be.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::level::{Bounds, Level, Sign};

/// Hands out as many [`Slot`]s as may be in use at a time, in the order in which they were asked for.
#[derive(Debug)]
pub(crate) struct Slots {
    /// A permit for each slot that is free.
    free: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Absent where the limit stays what it is.
    level: Option<Level>,
    limit: usize,
    /// Slots in use above the limit, because it shrank meanwhile. They are kept back when they are given back.
    surplus: usize,
}

impl Slots {
    /// Always `limit` slots, at least one.
    pub(crate) fn fixed(limit: usize) -> Self {
        Self::new(limit.clamp(1, Semaphore::MAX_PERMITS), None)
    }

    /// As many slots as [`Level`] finds best.
    pub(crate) fn auto(bounds: Bounds) -> Self {
        let most = bounds.most.min(Semaphore::MAX_PERMITS);
        let level = Level::new(Bounds { most, ..bounds }, Instant::now().into_std());
        Self::new(level.limit(), Some(level))
    }

    fn new(limit: usize, level: Option<Level>) -> Self {
        Self { free: Semaphore::new(limit), state: Mutex::new(State { level, limit, surplus: 0 }) }
    }

    /// Waits for a slot. Dropping the future gives up the place in the queue and nothing else.
    pub(crate) async fn acquire(&self) -> Slot<'_> {
        // The semaphore is never closed. The permit is accounted for by the slot.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        Slot { slots: self, begun: Instant::now(), end: None }
    }

    /// How many slots there may be in use now.
    pub(crate) fn limit(&self) -> usize {
        self.state().limit
    }

    #[cfg(test)]
    /// How many are in use. More than the limit only until those are given back that were in use when it shrank.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_use(&self.state())
    }

    fn in_use(&self, state: &State) -> usize {
        (state.limit + state.surplus).saturating_sub(self.free.available_permits())
    }

    /// Hears how a request went, and hands out, or keeps back, what that makes of the limit. `is_back` says that its slot
    /// was given back.
    fn learn(&self, begun: Instant, end: Option<(u64, Sign)>, is_back: bool) {
        let mut state = self.state();
        let in_flight = self.in_use(&state);
        let State { level, limit, surplus } = &mut *state;
        let used = *limit + *surplus - usize::from(is_back);
        if let (Some(level), Some((weight, sign))) = (level, end) {
            let now = Instant::now();
            level.ended(now.into_std(), now - begun, weight, sign, in_flight);
            *limit = level.limit();
        }
        // All permits but one that is back are still out, or free; what there are too many of goes as soon as it is free.
        let missing = limit.saturating_sub(used);
        *surplus = used.saturating_sub(*limit);
        *surplus -= self.free.forget_permits(*surplus);
        drop(state);
        self.free.add_permits(missing);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock only means that another task panicked beside it: each number is changed in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one request. Given back when dropped, by default without a word on how the request went.
#[derive(Debug)]
#[must_use = "a slot that is dropped is given back"]
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    begun: Instant,
    end: Option<(u64, Sign)>,
}

impl Slot<'_> {
    /// A request begins now, not when the slot was handed out.
    pub(crate) fn start(&mut self) {
        self.begun = Instant::now();
    }

    /// The request has ended so, and another may follow in the same slot.
    pub(crate) fn report(&self, weight: u64, sign: Sign) {
        self.slots.learn(self.begun, Some((weight, sign)), false);
    }

    /// The request has ended so. `weight` is what it is worth: 1, or its bytes.
    pub(crate) fn end(mut self, weight: u64, sign: Sign) {
        self.end = Some((weight, sign));
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.learn(self.begun, self.end, true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::FutureExt as _;
    use futures::future::join_all;

    use super::*;

    const BOUNDS: Bounds = Bounds { start: 10, least: 2, most: 40 };
    const ROUND_TRIP: Duration = Duration::from_millis(20);

    async fn acquire(slots: &Slots, number: usize) -> Vec<Slot<'_>> {
        join_all((0..number).map(|_| slots.acquire())).await
    }

    /// `number` requests that all end well, and after the same time.
    async fn requests(slots: &Slots, number: usize) {
        let request = async || {
            let slot = slots.acquire().await;
            tokio::time::sleep(ROUND_TRIP).await;
            slot.end(1, Sign::Done);
        };
        join_all((0..number).map(|_| request())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn fixed_stays_fixed() {
        let slots = Slots::fixed(3);
        requests(&slots, 100).await;
        for sign in [Sign::Busy, Sign::Lost] {
            slots.acquire().await.end(1, sign);
        }
        assert_eq!((slots.limit(), slots.in_flight()), (3, 0));
        let held = acquire(&slots, 3).await;
        assert!(slots.acquire().now_or_never().is_none());
        assert_eq!(slots.in_flight(), 3);
        drop(held);
        assert_eq!(slots.in_flight(), 0);
        assert_eq!(Slots::fixed(0).limit(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn grows_while_requests_wait() {
        let slots = Slots::auto(BOUNDS);
        let start = Instant::now();
        requests(&slots, 4000).await;
        assert_eq!((slots.limit(), slots.in_flight()), (40, 0));
        // At 10 it would take 8 s.
        assert!(start.elapsed() < Duration::from_millis(2200), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn growth_wakes_who_waits() {
        let slots = Slots::auto(BOUNDS);
        let mut held = acquire(&slots, 10).await;
        let mut waiting = Box::pin(acquire(&slots, 11));
        assert!(waiting.as_mut().now_or_never().is_none());
        tokio::time::advance(ROUND_TRIP).await;
        // Each that ends lets in one that waits, and the level grows on the way.
        for slot in held.drain(..) {
            slot.end(1, Sign::Done);
        }
        assert_eq!(slots.limit(), 20);
        assert!(slots.in_flight() > 10);
        let let_in = waiting.await;
        assert_eq!((let_in.len(), slots.in_flight()), (11, 11));
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_slots_back_when_it_shrank() {
        let slots = Slots::auto(BOUNDS);
        let mut held = acquire(&slots, 10).await;
        held.pop().unwrap().end(1, Sign::Busy);
        assert_eq!((slots.limit(), slots.in_flight()), (7, 9));
        let mut waiting = Box::pin(slots.acquire());
        for in_flight in [8, 7] {
            held.pop();
            assert!(waiting.as_mut().now_or_never().is_none());
            assert_eq!(slots.in_flight(), in_flight);
        }
        held.pop();
        let _let_in = waiting.await;
        assert_eq!(slots.in_flight(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn free_slots_go_first_when_it_shrinks() {
        let slots = Slots::auto(BOUNDS);
        let held = acquire(&slots, 5).await;
        slots.acquire().await.end(1, Sign::Busy);
        assert_eq!((slots.limit(), slots.in_flight()), (7, 5));
        let more = acquire(&slots, 2).await;
        assert!(slots.acquire().now_or_never().is_none());
        drop((held, more));
        assert_eq!(slots.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_loses_nothing() {
        let slots = Slots::fixed(1);
        let held = slots.acquire().await;
        let mut first = Box::pin(slots.acquire());
        let mut second = Box::pin(slots.acquire());
        let mut third = Box::pin(slots.acquire());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        // The slot is now the second's, which does not come for it.
        drop(held);
        assert!(slots.acquire().now_or_never().is_none(), "nobody overtakes");
        drop(second);
        drop(third.await);
        assert_eq!(slots.in_flight(), 0);
        assert!(slots.acquire().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_while_it_shrinks_loses_nothing() {
        let slots = Slots::auto(BOUNDS);
        let mut held = acquire(&slots, 10).await;
        let mut waiting = Box::pin(slots.acquire());
        assert!(waiting.as_mut().now_or_never().is_none());
        held.pop();
        held.pop().unwrap().end(1, Sign::Busy);
        // The slot that was meant for it comes back above the limit.
        drop(waiting);
        held.clear();
        assert_eq!((slots.limit(), slots.in_flight()), (7, 0));
        let _all = acquire(&slots, 7).await;
        assert!(slots.acquire().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn time_counts_from_the_start() {
        let slots = Slots::auto(BOUNDS);
        let mut early = slots.acquire().await;
        tokio::time::advance(ROUND_TRIP).await;
        slots.acquire().await.end(1, Sign::Busy);
        assert_eq!(slots.limit(), 7);
        early.start();
        early.end(1, Sign::Busy);
        assert_eq!(slots.limit(), 5, "it was begun after the cut, as far as the server is concerned");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_is_lost_among_threads() {
        let slots = Arc::new(Slots::auto(BOUNDS));
        let in_use = Arc::new(AtomicUsize::new(0));
        let workers = (0..100_u64).map(|worker| {
            let (slots, in_use) = (Arc::clone(&slots), Arc::clone(&in_use));
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(worker);
                for _ in 0..200 {
                    if random.u8(..8) == 0 {
                        // Asked for and not waited for.
                        drop(slots.acquire().now_or_never());
                    }
                    let slot = slots.acquire().await;
                    assert!(in_use.fetch_add(1, Ordering::SeqCst) < BOUNDS.most);
                    tokio::task::yield_now().await;
                    in_use.fetch_sub(1, Ordering::SeqCst);
                    match random.u8(..10) {
                        0 => drop(slot),
                        1 => slot.end(1, Sign::Busy),
                        2 => slot.end(1, Sign::Lost),
                        _ => slot.end(1, Sign::Done),
                    }
                }
            })
        });
        for worker in join_all(workers).await {
            worker.unwrap();
        }
        assert_eq!(slots.in_flight(), 0);
        let _all = acquire(&slots, slots.limit()).await;
        assert!(slots.acquire().now_or_never().is_none());
    }
}
