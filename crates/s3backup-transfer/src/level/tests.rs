//! Simulated servers, and what the level makes of them.

use std::collections::BTreeMap;

use super::*;

const SMALL: Bounds = Bounds { start: 16, least: 4, most: 1024 };
const PARTS: Bounds = Bounds { start: 4, least: 2, most: 64 };
const SEEDS: std::ops::RangeInclusive<u64> = 1..=2;

/// Seconds.
type Time = f64;

/// A client with two cores and a server, with what each test needs of them.
#[derive(Clone)]
struct World {
    seed: u64,
    random: fastrand::Rng,
    /// Work of the client for each request.
    cpu: Time,
    /// How much the speed of the cores varies from one time slice to the next, and how long that is.
    cpu_noise: f64,
    slice: Time,
    cores_free: [Time; 2],
    /// There and back.
    latency: fn(Time) -> Time,
    latency_noise: f64,
    /// What the server does in a second; more has to wait.
    capacity: fn(Time) -> f64,
    server_free: Time,
    /// What the server takes in a second; more is refused.
    allowed: f64,
    /// What it still takes at the moment, a tenth of a second's worth at most.
    tokens: f64,
    filled: Time,
    /// When requests get no answer.
    hangs: fn(Time) -> bool,
    /// Connections there are, and what another one costs: round trips, and work of the client.
    connections: usize,
    connect_trips: f64,
    connect_cpu: Time,
    /// How many requests there are to send at a time.
    demand: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            random: fastrand::Rng::with_seed(seed),
            cpu: 50e-6,
            cpu_noise: 0.0,
            slice: 4e-3,
            cores_free: [0.0; 2],
            latency: |_| 0.0,
            latency_noise: 0.3,
            capacity: |_| 1e6,
            server_free: 0.0,
            allowed: 1e6,
            tokens: 0.0,
            filled: -1.0,
            hangs: |_| false,
            connections: 0,
            connect_trips: 0.0,
            connect_cpu: 0.0,
            demand: usize::MAX,
        }
    }

    /// When a request that is begun now ends, and how.
    fn send(&mut self, now: Time, in_flight: usize) -> (Time, Sign) {
        const LOST_AFTER: Time = 10.0;
        let speed = fastrand::Rng::with_seed(self.seed + (now / self.slice) as u64).f64();
        let connects = in_flight >= self.connections;
        self.connections += usize::from(connects);
        let (trips, connect_cpu) = if connects { (self.connect_trips, self.connect_cpu) } else { (0.0, 0.0) };
        let cpu = (self.cpu + connect_cpu) * about_one(speed, self.cpu_noise);
        let core = &mut self.cores_free[usize::from(self.cores_free[1] < self.cores_free[0])];
        *core = core.max(now) + cpu;
        let sent = *core;
        if (self.hangs)(sent) {
            return (now + LOST_AFTER, Sign::Lost);
        }
        let latency = (self.latency)(sent) * about_one(self.random.f64(), self.latency_noise) * (1.0 + trips);
        self.tokens = (self.tokens + self.allowed * (sent - self.filled).max(0.0)).min(self.allowed / 10.0);
        self.filled = self.filled.max(sent);
        if self.tokens < 1.0 {
            return (sent + latency, Sign::Busy);
        }
        self.tokens -= 1.0;
        self.server_free = self.server_free.max(sent) + 1.0 / (self.capacity)(sent);
        (self.server_free + latency, Sign::Done)
    }
}

/// Between `1 - noise` and `1 + noise`, for a number between 0 and 1.
fn about_one(random: f64, noise: f64) -> f64 {
    1.0 + noise * (2.0 * random - 1.0)
}

/// A level, or a fixed number to compare it with.
enum Policy {
    Level(Level, Instant),
    Fixed(usize),
}

impl Policy {
    fn new(bounds: Bounds) -> Self {
        let zero = Instant::now();
        Self::Level(Level::new(bounds, zero), zero)
    }

    fn limit(&self) -> usize {
        match self {
            Self::Level(level, _) => level.limit(),
            Self::Fixed(limit) => *limit,
        }
    }

    fn ended(&mut self, now: Time, begun: Time, weight: u64, sign: Sign, in_flight: usize) {
        if let Self::Level(level, zero) = self {
            // Both are rounded before they are subtracted, so that the begin is the same moment again.
            let at = |time| Duration::from_secs_f64(time);
            level.ended(*zero + at(now), at(now).saturating_sub(at(begun)), weight, sign, in_flight);
            assert!((level.bounds.least..=level.bounds.most).contains(&level.limit));
        }
    }
}

/// What a run came to.
#[derive(Default)]
struct Run {
    done: f64,
    busy: f64,
    /// The level at each millisecond.
    levels: Vec<usize>,
}

impl Run {
    /// Milliseconds until the level was this high.
    fn reached(&self, level: usize) -> Option<usize> {
        self.levels.iter().position(|&now| now >= level)
    }

    /// The level that was not exceeded for half of the time between.
    fn median(&self, from: Time, to: Time) -> usize {
        let mut levels = self.levels[(from * 1e3) as usize..(to * 1e3) as usize].to_vec();
        levels.sort_unstable();
        levels[levels.len() / 2]
    }
}

/// Sends as much as the policy allows, for `length`.
fn run(mut world: World, mut policy: Policy, length: Time) -> Run {
    let mut run = Run::default();
    let mut in_flight: BTreeMap<(Duration, u64), (Time, Sign)> = BTreeMap::new();
    let mut now = 0.0;
    for number in 0.. {
        while in_flight.len() < policy.limit().min(world.demand) {
            let (ends, sign) = world.send(now, in_flight.len());
            in_flight.insert(
                (Duration::from_secs_f64(ends), in_flight.len() as u64 + (number << 16)),
                (now, sign),
            );
        }
        let ((ends, _), (begun, sign)) = in_flight.pop_first().unwrap();
        now = ends.as_secs_f64();
        while run.levels.len() as Time / 1e3 < now.min(length) {
            run.levels.push(policy.limit());
        }
        if now > length {
            break;
        }
        match sign {
            Sign::Done => run.done += 1.0,
            Sign::Busy => run.busy += 1.0,
            Sign::Lost => {}
        }
        policy.ended(now, begun, 1, sign, in_flight.len() + 1);
    }
    run
}

/// What the best fixed level brings of those of which little is refused.
fn best_fixed(world: &World, length: Time) -> f64 {
    let runs = [16, 64, 128, 192, 1024].map(|n| run(world.clone(), Policy::Fixed(n), length));
    runs.iter().filter(|run| run.busy < 0.02 * run.done).map(|run| run.done).fold(0.0, f64::max)
}

/// Runs the world that `made` makes of each seed. At least this share of what the best fixed level brings must be reached.
fn check(made: impl Fn(World) -> World, length: Time, share: f64, also: impl Fn(&Run)) {
    for seed in SEEDS {
        let world = made(World::new(seed));
        let best = best_fixed(&world, length);
        let run = run(world, Policy::new(SMALL), length);
        println!(
            "seed {seed}: {:.3} of {best}, {:.2} % busy, 256 after {:?} ms, then {}, {}, {}",
            run.done / best,
            100.0 * run.busy / (run.busy + run.done),
            run.reached(256),
            run.median(length * 0.25, length * 0.5),
            run.median(length * 0.5, length * 0.75),
            run.median(length * 0.75, length),
        );
        assert!(run.done >= share * best, "seed {seed}");
        also(&run);
    }
}

#[test]
fn grows_fast_where_nothing_but_latency_is_in_the_way() {
    let near = |world| World { latency: |_| 0.02, ..world };
    check(near, 0.6, 0.8, |run| assert!(run.reached(256).is_some_and(|ms| ms < 150)));
    check(near, 2.0, 0.9, |_| {});
    // TCP and TLS 1.3.
    let secure = |world| World { connect_trips: 2.0, connect_cpu: 5e-4, ..near(world) };
    check(secure, 3.0, 0.8, |run| assert!(run.reached(256).is_some_and(|ms| ms < 300)));
    let far = |world| World { latency: |_| 0.06, ..world };
    check(far, 3.0, 0.85, |run| assert!(run.reached(256).is_some_and(|ms| ms < 400)));
}

#[test]
fn stays_where_more_only_waits() {
    let fast = |world| World { latency: |_| 0.02, capacity: |_| 8000.0, ..world };
    check(fast, 10.0, 0.95, |run| assert!((160..=384).contains(&run.median(2.0, 10.0))));
    let slow = |world| World { latency: |_| 0.02, capacity: |_| 1000.0, ..world };
    check(slow, 10.0, 0.95, |run| assert!((16..=48).contains(&run.median(2.0, 10.0))));
}

#[test]
fn is_moderate_where_the_client_is_the_limit() {
    for slice in [0.004, 0.03, 0.3] {
        let noisy = |world| World { cpu_noise: 0.5, slice, ..world };
        check(noisy, 2.0, 0.95, |run| {
            assert!(run.levels.iter().all(|&level| level >= 16), "slices of {slice} s");
            assert!(run.median(0.0, 2.0) <= 64, "slices of {slice} s");
        });
    }
}

#[test]
fn is_refused_little() {
    for allowed in [300.0, 2300.0, 3500.0] {
        let strict = |world| World { latency: |_| 0.06, allowed, ..world };
        check(strict, 6.0, 0.9, |run| assert!(run.busy < 0.06 * run.done));
        check(strict, 20.0, 0.95, |run| assert!(run.busy < 0.03 * run.done));
    }
}

#[test]
fn follows_what_the_server_can_do() {
    let relieved = |t| if t < 5.0 { 2000.0 } else { 6000.0 };
    check(
        |world| World { latency: |_| 0.02, capacity: relieved, ..world },
        20.0,
        0.9,
        |run| {
            assert!((120..=288).contains(&run.median(10.0, 20.0)));
        },
    );
    let burdened = |t| if t < 5.0 { 6000.0 } else { 2000.0 };
    check(
        |world| World { latency: |_| 0.02, capacity: burdened, ..world },
        20.0,
        0.9,
        |run| {
            assert!((40..=180).contains(&run.median(15.0, 20.0)));
        },
    );
}

#[test]
fn grows_when_the_way_becomes_longer() {
    let longer = |t| if t < 5.0 { 0.02 } else { 0.06 };
    check(
        |world| World { latency: longer, capacity: |_| 6000.0, ..world },
        20.0,
        0.9,
        |run| {
            assert!(run.median(15.0, 20.0) >= 360);
        },
    );
}

#[test]
fn survives_a_server_that_hangs() {
    let hangs = |t| (3.0..5.0).contains(&t);
    check(
        |world| World { latency: |_| 0.02, capacity: |_| 6000.0, hangs, ..world },
        20.0,
        0.9,
        |run| {
            assert!(run.median(15.0, 20.0) >= 120);
        },
    );
}

#[test]
fn does_not_grow_while_it_is_not_used() {
    for seed in SEEDS {
        let world = World { latency: |_| 0.02, demand: 20, ..World::new(seed) };
        let run = run(world, Policy::new(SMALL), 20.0);
        assert!(run.levels.iter().all(|&level| level <= 32), "{:?}", run.levels.iter().max());
    }
}

/// Sends parts of 8 MiB over a link on which one connection makes `each` MiB a second and all `together`. Counts MiB.
fn send_parts(seed: u64, mut policy: Policy, each: f64, together: f64, length: Time) -> Run {
    const PART: f64 = 8.0;
    const STEP: Time = 1e-3;
    struct Part {
        begun: Time,
        left: f64,
        speed: f64,
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut parts, mut run): (Vec<Part>, _) = (Vec::new(), Run::default());
    for step in 0..(length / STEP) as u64 {
        let now = step as Time * STEP;
        while parts.len() < policy.limit() {
            parts.push(Part { begun: now, left: PART, speed: about_one(random.f64(), 0.3) });
        }
        let fair = each.min(together / parts.len() as f64) * STEP;
        for part in &mut parts {
            part.left -= fair * part.speed;
            run.done += fair * part.speed;
        }
        while let Some(ended) = parts.iter().position(|part| part.left <= 0.0) {
            policy.ended(now, parts[ended].begun, 8 << 20, Sign::Done, parts.len());
            parts.swap_remove(ended);
        }
        run.levels.push(policy.limit());
    }
    run
}

#[test]
fn parts_fill_the_link() {
    for (each, together) in [(20.0, 100.0), (50.0, 1000.0), (100.0, 100.0), (5.0, 12.0)] {
        for seed in SEEDS {
            let length = 60.0;
            let fixed = |n| send_parts(seed, Policy::Fixed(n), each, together, length).done;
            let best = [2, 4, 8, 16, 32, 64].map(fixed).into_iter().fold(0.0, f64::max);
            let run = send_parts(seed, Policy::new(PARTS), each, together, length);
            let settled = run.median(20.0, length);
            println!("{each} of {together}, seed {seed}: {:.3}, level {settled}", run.done / best);
            assert!(run.done >= 0.9 * best);
            // Doubling finds less than twice what fills the link, and noise may take it for half as much again.
            let enough = (together / each).ceil() as usize;
            assert!(settled <= 3 * enough.max(PARTS.start), "{settled} of {enough}");
        }
    }
}

/// A level that was tried and found good, and the time.
fn at_rest() -> (Level, Instant) {
    let zero = Instant::now();
    let bounds = Bounds { start: 100, least: 4, most: 100 };
    (Level::new(bounds, zero), zero)
}

#[test]
fn a_refusal_cuts_once_in_a_round_trip() {
    let (mut level, zero) = at_rest();
    let ms = Duration::from_millis;
    for after in 60..80 {
        level.ended(zero + ms(after), ms(60), 1, Sign::Busy, 100);
    }
    assert_eq!(level.limit(), 70, "all of these were begun before the cut");
    level.ended(zero + ms(121), ms(60), 1, Sign::Busy, 70);
    assert_eq!(level.limit(), 49);
    for round in 3..20 {
        level.ended(zero + ms(round * 60), ms(1), 1, Sign::Busy, 70);
    }
    assert_eq!(level.limit(), 4);
}

#[test]
fn a_loss_cuts_mildly() {
    let (mut level, zero) = at_rest();
    for _ in 0..100 {
        level.ended(zero + Duration::from_secs(30), Duration::from_secs(30), 1, Sign::Lost, 100);
    }
    assert_eq!(level.limit(), 90);
}

#[test]
fn strange_bounds_and_times_do_no_harm() {
    let zero = Instant::now();
    let mut level = Level::new(Bounds { start: 16, least: 0, most: 0 }, zero);
    for _ in 0..1000 {
        level.ended(zero, Duration::MAX, u64::MAX, Sign::Done, 1);
        level.ended(zero, Duration::ZERO, 0, Sign::Done, usize::MAX);
        assert_eq!(level.limit(), 1);
    }
}
