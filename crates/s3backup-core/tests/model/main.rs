//! Random lives of a machine, its directory and its bucket, compared with a small model: whatever is lost, rolled back or cut
//! short, what a run calls a success is in the bucket and comes back as it was.
//!
//! `BACKUP_MODEL_ROUNDS` and `BACKUP_MODEL_SEED` in the environment make it longer, or another; the same seed repeats a
//! failure, which is printed as the shortest series of steps that still fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests end with what they find")]

#[path = "../it/bench.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod bench;
mod bucket;
mod life;
mod step;
mod tree;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;

use crate::life::Life;
use crate::step::steps;

/// In continuous integration; by hand some hundreds are worth their time.
const ROUNDS: u32 = 20;
const SEED: u64 = 20;

/// How many shorter series are tried once one has failed.
const SHRINKS: u32 = 600;

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no such number")))
}

#[test]
fn whatever_happens_a_success_is_in_the_bucket_and_comes_back() {
    let rounds = from_environment("BACKUP_MODEL_ROUNDS").unwrap_or(ROUNDS);
    let seed: u64 = from_environment("BACKUP_MODEL_SEED").unwrap_or(SEED);
    println!("BACKUP_MODEL_SEED={seed} BACKUP_MODEL_ROUNDS={rounds}");
    let config =
        Config { cases: rounds, failure_persistence: None, max_shrink_iters: SHRINKS, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let runtime = Runtime::new().unwrap();
    let lived = runner
        .run(&steps(), |steps| runtime.block_on(async { Box::pin(Life::new().await.live(&steps)).await }));
    if let Err(error) = lived {
        panic!("BACKUP_MODEL_SEED={seed}: {error}");
    }
}
