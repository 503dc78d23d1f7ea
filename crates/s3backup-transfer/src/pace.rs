//! Lets bytes pass no faster than they may, whoever sends them.
//!
//! All requests stand in one line. Each byte has a place in it, which is the number of bytes before it; with the time goes
//! a count of the bytes that may have passed, and a piece may go when that has come to its place. Places stay what they
//! are when the rate changes, so that those who wait follow it at once.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, Sleep};

use crate::body::TAKEN_BYTES;
use crate::{Bandwidth, Rate};

/// What nobody asked for in time is lost, but for so much: timers and tasks may be late by less than this without making
/// it slower.
const BURST: Duration = Duration::from_millis(50);

/// How long a rate is believed. The clock on the wall may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Time goes in steps, those of the timers: else a place further behind could be reached while the timer of one before it
/// is still to go off.
const TICK: Duration = Duration::from_millis(1);

const NANOS_PER_S: u128 = 1_000_000_000;

/// Tells the time of day.
type Wall = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How fast the bytes of all who share it may go; cheap to clone. Without a limit it costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace(Option<Arc<Shared>>);

struct Shared {
    bandwidth: Bandwidth,
    wall: Wall,
    line: Mutex<Line>,
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        // A poisoned lock only means that another task panicked beside it.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("bandwidth", &self.bandwidth).finish_non_exhaustive()
    }
}

impl Pace {
    pub(crate) fn new(bandwidth: Bandwidth) -> Self {
        Self::with_wall(bandwidth, Arc::new(Utc::now))
    }

    /// Whether bytes may have to wait.
    pub(crate) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    fn with_wall(bandwidth: Bandwidth, wall: Wall) -> Self {
        if bandwidth.is_unlimited() {
            return Self(None);
        }
        let line = Mutex::new(Line::new(Instant::now()));
        Self(Some(Arc::new(Shared { bandwidth, wall, line })))
    }

    /// Waits until so many bytes may go. They take their places piece by piece, so that others come between. Dropping
    /// the future gives up the place of one piece at most.
    pub(crate) async fn pass(&self, bytes: usize) {
        self.pass_held(bytes, |_| {}).await;
    }

    /// The same, and says meanwhile until when at least the wait will go on, each time before that is over.
    pub(crate) async fn pass_held(&self, bytes: usize, mut held_until: impl FnMut(Instant)) {
        if self.0.is_none() {
            return;
        }
        let mut turn = Turn::of(self.clone());
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(TAKEN_BYTES);
            poll_fn(|context| turn.poll_pass(context, piece, &mut held_until)).await;
            left -= piece;
        }
    }
}

/// The way of one request's bytes through a [`Pace`], for what is polled.
pub(crate) struct Turn {
    pace: Pace,
    /// Of the piece that waits.
    place: Option<u64>,
    /// Whether that piece let those before it forward.
    was_polite: bool,
    /// Until when it waits; kept for the next.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Turn {
    pub(crate) fn of(pace: Pace) -> Self {
        Self { pace, place: None, was_polite: false, sleep: None }
    }

    /// Ready when the next piece, of so many bytes and at most [`TAKEN_BYTES`], may go. While it waits, `held_until` hears
    /// until when at least.
    pub(crate) fn poll_pass(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
        mut held_until: impl FnMut(Instant),
    ) -> Poll<()> {
        let Some(shared) = &self.pace.0 else { return Poll::Ready(()) };
        loop {
            if let (Some(_), Some(sleep)) = (self.place, &mut self.sleep)
                && !self.was_polite
                && sleep.as_mut().poll(context).is_pending()
            {
                held_until(sleep.deadline());
                return Poll::Pending;
            }
            let now = Instant::now();
            let mut line = shared.line();
            line.look(now, (shared.wall)(), &shared.bandwidth);
            let place = *self.place.get_or_insert_with(|| line.stand(now, bytes));
            let Some(until) = line.wait(now, place) else {
                // Of several whose time has come, the first to wake need not be the first in the line. It does not insist:
                // one that nobody polls must not hold up the others.
                if line.is_first(place) || self.was_polite {
                    line.leave(place);
                    (self.place, self.was_polite) = (None, false);
                    return Poll::Ready(());
                }
                self.was_polite = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            };
            drop(line);
            self.was_polite = false;
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(until),
                None => self.sleep = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let (Some(shared), Some(place)) = (&self.pace.0, self.place) {
            shared.line().leave(place);
        }
    }
}

/// Who waits, as numbers.
#[derive(Debug)]
struct Line {
    /// How fast it goes since `since`.
    rate: Rate,
    since: Instant,
    /// The bytes that might have passed until `since`.
    passed: u64,
    /// The bytes that have places: the next place.
    placed: u64,
    /// The places of those who wait.
    waiting: BTreeSet<u64>,
    /// When to ask for the rate again.
    look_at: Instant,
}

impl Line {
    fn new(now: Instant) -> Self {
        Self {
            rate: Rate::Unlimited,
            since: now,
            passed: 0,
            placed: 0,
            waiting: BTreeSet::new(),
            look_at: now,
        }
    }

    /// Sees to it that the rate is the one that holds.
    fn look(&mut self, now: Instant, wall: DateTime<Utc>, bandwidth: &Bandwidth) {
        if now < self.look_at {
            return;
        }
        let (rate, until) = bandwidth.at(wall);
        if rate != self.rate {
            (self.passed, self.since, self.rate) = (self.may_have_passed(now), now, rate);
        }
        let left = until.and_then(|until| (until - wall).to_std().ok());
        self.look_at = now + left.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
    }

    /// Gives the next place to so many bytes.
    fn stand(&mut self, now: Instant, bytes: usize) -> u64 {
        let most = self.placed.saturating_add(self.bytes_in(BURST));
        if self.may_have_passed(now) > most {
            (self.passed, self.since) = (most, now);
        }
        let place = self.placed;
        self.placed = self.placed.saturating_add(bytes as u64);
        self.waiting.insert(place);
        place
    }

    fn is_first(&self, place: u64) -> bool {
        self.waiting.first().is_none_or(|first| *first >= place)
    }

    /// Those bytes go, or will never.
    fn leave(&mut self, place: u64) {
        self.waiting.remove(&place);
    }

    /// Until when to wait at a place and then to ask again; `None` if the bytes there may go.
    fn wait(&self, now: Instant, place: u64) -> Option<Instant> {
        let Rate::BytesPerSecond(rate) = self.rate else { return None };
        if place <= self.may_have_passed(now) {
            return None;
        }
        let nanos = (u128::from(place - self.passed) * NANOS_PER_S).div_ceil(rate.get().into());
        let ticks = u64::try_from(nanos.div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX);
        let at = self.since.checked_add(Duration::from_millis(ticks));
        Some(at.map_or(self.look_at, |at| at.min(self.look_at)))
    }

    fn may_have_passed(&self, now: Instant) -> u64 {
        match self.rate {
            Rate::Unlimited => self.placed,
            Rate::BytesPerSecond(_) => {
                let ticks = now.saturating_duration_since(self.since).as_millis();
                let time = Duration::from_millis(u64::try_from(ticks).unwrap_or(u64::MAX));
                self.passed.saturating_add(self.bytes_in(time))
            }
        }
    }

    fn bytes_in(&self, time: Duration) -> u64 {
        let Rate::BytesPerSecond(rate) = self.rate else { return 0 };
        u64::try_from(time.as_nanos().saturating_mul(rate.get().into()) / NANOS_PER_S).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;
    use std::num::NonZeroU64;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use chrono::TimeDelta;
    use chrono_tz::Tz;
    use futures::FutureExt;

    const MIB: u64 = 1 << 20;
    const TEN_S: Duration = Duration::from_secs(10);

    fn rate(bytes: u64) -> Rate {
        NonZeroU64::new(bytes).map_or(Rate::Unlimited, Rate::BytesPerSecond)
    }

    fn daily(timezone: Tz, entries: &[(&str, u64)]) -> Bandwidth {
        let rates = entries.iter().map(|(time, bytes)| (format!("{time}:00").parse().unwrap(), rate(*bytes)));
        Bandwidth::Daily { timezone, rates: rates.collect::<BTreeMap<_, _>>() }
    }

    /// A clock on the wall that shows `from` now.
    fn wall(from: &str) -> Wall {
        let (from, began): (DateTime<Utc>, _) = (from.parse().unwrap(), Instant::now());
        Arc::new(move || from + began.elapsed())
    }

    fn pace(bytes: u64) -> Pace {
        Pace::with_wall(Bandwidth::Always(rate(bytes)), wall("2026-11-23T00:00:00Z"))
    }

    /// What each of some requests, which ask without end, gets through in a time.
    async fn passed(pace: &Pace, requests: usize, time: Duration) -> Vec<u64> {
        let end = Instant::now() + time;
        let each = (0..requests).map(|_| async {
            let mut passed = 0;
            while tokio::time::timeout_at(end, pace.pass(TAKEN_BYTES)).await.is_ok() && Instant::now() < end {
                passed += TAKEN_BYTES as u64;
            }
            passed
        });
        futures::future::join_all(each).await
    }

    #[track_caller]
    fn assert_near(found: u64, expected: u64, percent: u64) {
        assert!(found.abs_diff(expected) * 100 <= expected * percent, "{found} is not near {expected}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_and_shared() {
        for bytes in [MIB, 20 * MIB, 100 * MIB] {
            for requests in [1, 2, 10] {
                let passed = passed(&pace(bytes), requests, TEN_S).await;
                let all = passed.iter().sum::<u64>();
                assert_near(all, 10 * bytes, 5);
                for one in passed {
                    assert_near(one, all / requests as u64, 10);
                }
            }
        }
    }

    /// In places, and not by the lateness of timers.
    #[test]
    fn pieces_go_one_after_the_other() {
        let began = Instant::now();
        let after = |ms| began + Duration::from_millis(ms);
        let bandwidth = Bandwidth::Always(rate(16_000));
        let mut line = Line::new(began);
        line.look(began, DateTime::UNIX_EPOCH, &bandwidth);
        let places = [8000, 16_000, 100].map(|bytes| line.stand(began, bytes));
        assert_eq!(places, [0, 8000, 24_000]);
        assert_eq!(line.wait(began, 0), None);
        assert_eq!(line.wait(began, 8000), Some(after(500)));
        assert_eq!(line.wait(after(499), 8000), Some(after(500)));
        assert_eq!(line.wait(after(500), 8000), None);
        assert_eq!(line.wait(after(500), 24_000), Some(after(1000)), "the rate may be another then");
        assert_eq!(line.wait(after(1500), 24_000), None);
        // Ten seconds of silence are worth 50 ms.
        assert_eq!(line.stand(after(11_500), 10_000), 24_100);
        assert_eq!(line.wait(after(11_500), 24_100), None);
        let next = line.stand(after(11_500), 10_000);
        line.look(after(11_500), DateTime::UNIX_EPOCH, &bandwidth);
        assert_eq!(line.wait(after(11_500), next), Some(after(11_500 + 625 - 50)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_neighbour_takes_nothing_that_it_does_not_use() {
        let pace = pace(MIB);
        let slow = async {
            for _ in 0..10 {
                pace.pass(TAKEN_BYTES).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (fast, ()) = futures::join!(passed(&pace, 1, TEN_S), slow);
        assert_near(fast[0], 10 * MIB, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn many_bytes_at_once_let_others_between() {
        let pace = pace(MIB);
        let began = Instant::now();
        let large = async {
            pace.pass(10 << 20).await;
            began.elapsed()
        };
        let (large, small) = futures::join!(large, passed(&pace, 1, Duration::from_secs(4)));
        assert_near(small[0], 2 * MIB, 10);
        assert!((Duration::from_millis(11_900)..Duration::from_millis(12_200)).contains(&large), "{large:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_follows_the_time_of_day() {
        // The zone, entries, five seconds before the change, and how much goes in the five seconds after it.
        let changes = [
            (Tz::Asia__Seoul, [("08:00", 1), ("20:00", 4)], "2026-11-23T10:59:55Z", 4),
            (Tz::Asia__Seoul, [("08:00", 1), ("20:00", 4)], "2026-11-22T22:59:55Z", 1),
            // 02:30 is skipped: it changes at 03:00, which comes right after 01:59.
            (Tz::America__New_York, [("02:30", 4), ("20:00", 1)], "2026-03-08T06:59:55Z", 4),
            // 01:30 comes twice.
            (Tz::America__New_York, [("01:30", 4), ("20:00", 1)], "2026-11-01T05:29:55Z", 4),
        ];
        for (timezone, entries, from, after) in changes {
            let entries = entries.map(|(time, mib)| (time, mib * MIB));
            let pace = Pace::with_wall(daily(timezone, &entries), wall(from));
            let five_s = Duration::from_secs(5);
            let before = passed(&pace, 2, five_s).await.iter().sum();
            assert_near(before, 5 * (5 - after) * MIB, 5);
            let then = passed(&pace, 2, five_s).await.iter().sum();
            assert_near(then, 5 * after * MIB, 5);
        }
    }

    /// The last of those who wait had 16 minutes before it.
    #[tokio::test(start_paused = true)]
    async fn those_who_wait_follow_a_change() {
        let by_day = daily(Tz::UTC, &[("08:00", 1024), ("20:00", 0)]);
        let pace = Pace::with_wall(by_day.clone(), wall("2026-11-23T19:59:50Z"));
        let began = Instant::now();
        futures::future::join_all((0..60).map(|_| pace.pass(TAKEN_BYTES))).await;
        assert!((Duration::from_secs(10)..Duration::from_millis(10_100)).contains(&began.elapsed()));

        // Somebody sets the clock.
        let wall =
            Arc::new(AtomicI64::new("2026-11-23T12:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp()));
        let shown = Arc::clone(&wall);
        let read = move || DateTime::from_timestamp(shown.load(Ordering::Relaxed), 0).unwrap();
        let pace = Pace::with_wall(by_day, Arc::new(read));
        let began = Instant::now();
        let set = async {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            wall.fetch_add(TimeDelta::hours(8).num_seconds(), Ordering::Relaxed);
        };
        futures::join!(futures::future::join_all((0..60).map(|_| pace.pass(TAKEN_BYTES))), set);
        assert!(began.elapsed() < Duration::from_millis(3600), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_begins_takes_nothing_back() {
        let pace =
            Pace::with_wall(daily(Tz::UTC, &[("08:00", MIB), ("20:00", 0)]), wall("2026-11-23T07:59:59Z"));
        assert!(pace.pass(1 << 30).now_or_never().is_some());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_near(passed(&pace, 2, TEN_S).await.iter().sum(), 10 * MIB, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_leaves_costs_its_own_piece() {
        let pace = pace(16 << 10);
        let began = Instant::now();
        pace.pass(TAKEN_BYTES).await;
        let mut leaving = Box::pin(pace.pass(1 << 30));
        let is_waiting = futures::poll!(leaving.as_mut()).is_pending();
        drop(leaving);
        pace.pass(TAKEN_BYTES).await;
        assert!(is_waiting);
        assert_near(u64::try_from(began.elapsed().as_millis()).unwrap(), 2000, 1);
    }

    /// What is told never ends before the next is told.
    #[tokio::test(start_paused = true)]
    async fn a_wait_says_that_it_goes_on() {
        let pace = pace(1024);
        let held_until = AtomicU64::new(0);
        let began = Instant::now();
        pace.pass_held(2 * TAKEN_BYTES, |until| {
            let before = held_until.swap(ms(until - began), Ordering::Relaxed);
            assert!(ms(began.elapsed()) <= before + 1 && ms(until - began) >= before);
        })
        .await;
        assert_near(held_until.into_inner(), 16_000, 1);
    }

    fn ms(time: Duration) -> u64 {
        u64::try_from(time.as_millis()).unwrap()
    }

    /// Neither a lock nor a clock.
    #[test]
    fn without_a_limit_bytes_pass_at_once() {
        let no_clock: Wall = Arc::new(|| panic!("the time does not matter"));
        for bandwidth in [Bandwidth::default(), daily(Tz::UTC, &[("08:00", 0)])] {
            let pace = Pace::with_wall(bandwidth, Arc::clone(&no_clock));
            assert!(pace.0.is_none());
            assert!(pace.pass(usize::MAX).now_or_never().is_some());
        }
        assert!(Pace::default().0.is_none());
    }
}
