//! Trees of files, the same ones in every run.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::AddAssign;
use std::path::Path;

use anyhow::{Context, Result};
use fastrand::Rng;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// A kind of tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Small,
    Large,
    Mixed,
    Json,
}

impl Workload {
    pub(crate) const ALL: [Self; 4] = [Self::Small, Self::Large, Self::Mixed, Self::Json];

    pub(crate) fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == name).with_context(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("there is no workload `{name}`, only {known}")
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
            Self::Mixed => "mixed",
            Self::Json => "json",
        }
    }

    /// What it is at scale 1.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Small => "20,000 files of 4 KiB in 200 folders",
            Self::Large => "3 files of 1 GiB",
            Self::Mixed => "3,000 files from 1 KiB to 8 MiB, as many of each order of magnitude",
            Self::Json => "5,000 files of 64 KiB of JSON lines",
        }
    }

    /// Makes the files in a new folder. The scale changes how many there are, of large ones how large they are.
    pub(crate) fn make(self, folder: &Path, scale: f64) -> Result<Amount> {
        let scaled = |full: usize| whole(full as f64 * scale).max(1);
        let mut tree = Tree { folder, random: Rng::with_seed(self as u64), amount: Amount::default() };
        match self {
            Self::Small => {
                let folders = scaled(200);
                for number in 0..scaled(20_000) {
                    tree.noise(&format!("d{:04}/f{number:06}.bin", number % folders), 4 * KIB)?;
                }
            }
            Self::Large => {
                for number in 0..3 {
                    tree.noise(&format!("large-{number}.bin"), scaled(GIB))?;
                }
            }
            Self::Mixed => {
                let (least, most) = ((KIB as f64).ln(), ((8 * MIB) as f64).ln());
                for number in 0..scaled(3_000) {
                    let size = whole((least + (most - least) * tree.random.f64()).exp());
                    tree.noise(&format!("m{:02}/f{number:05}.dat", number % 60), size)?;
                }
            }
            Self::Json => {
                for number in 0..scaled(5_000) {
                    let text = json_lines(&mut tree.random, number, 64 * KIB);
                    tree.file(&format!("{:03}/part-{number:05}.jsonl", number / 200), &[text.as_bytes()])?;
                }
            }
        }
        Ok(tree.amount)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the fraction is to be cut off, and nothing here is negative"
)]
fn whole(number: f64) -> usize {
    number as usize
}

/// How many files or objects, and how many bytes in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Amount {
    /// What is below a folder.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let mut amount = Self::default();
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            amount += if metadata.is_dir() {
                Self::of(&entry.path())?
            } else {
                Self { files: 1, bytes: metadata.len() }
            };
        }
        Ok(amount)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} files with {:.1} MiB", self.files, self.bytes as f64 / MIB as f64)
    }
}

struct Tree<'a> {
    folder: &'a Path,
    random: Rng,
    amount: Amount,
}

impl Tree<'_> {
    /// A file of random bytes, which repeat only in files of more than 1 MiB.
    fn noise(&mut self, name: &str, size: usize) -> Result<()> {
        let mut bytes = vec![0; size.min(MIB)];
        self.random.fill(&mut bytes);
        let whole = std::iter::repeat_n(bytes.as_slice(), size / bytes.len());
        let pieces: Vec<_> = whole.chain([&bytes[..size % bytes.len()]]).collect();
        self.file(name, &pieces)
    }

    fn file(&mut self, name: &str, pieces: &[&[u8]]) -> Result<()> {
        let path = self.folder.join(name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(self.folder))?;
            let mut file = File::create_new(&path)?;
            pieces.iter().try_for_each(|piece| file.write_all(piece))
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        self.amount += Amount { files: 1, bytes };
        Ok(())
    }
}

/// Readings of a device, at least `size` bytes and up to the end of a line.
fn json_lines(random: &mut Rng, number: usize, size: usize) -> String {
    let mut text = String::with_capacity(size + 200);
    let mut time = 1_700_000_000_000 + number as u64 * 1_000;
    while text.len() < size {
        time += random.u64(1..2_000);
        let unit = random.choice(["pump", "fan", "valve", "meter"]).unwrap_or_default();
        let reading = serde_json::json!({
            "ts": time,
            "host": format!("node-{:03}", random.u16(..400)),
            "unit": unit,
            "seq": random.u32(..),
            "temp_c": f64::from(random.u16(30_000..60_000)) / 1_000.0,
            "ok": random.f64() < 0.98,
        });
        text.push_str(&reading.to_string());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_the_same_in_every_run() {
        for workload in Workload::ALL {
            let make = || {
                let folder = tempfile::tempdir().unwrap();
                let amount = workload.make(folder.path(), 0.001).unwrap();
                assert_eq!(Amount::of(folder.path()).unwrap(), amount, "{workload:?}");
                amount
            };
            assert_eq!(make(), make(), "{workload:?}");
        }
    }

    #[test]
    fn the_scale_decides_how_much_there_is() {
        let made = |workload: Workload, scale| {
            let folder = tempfile::tempdir().unwrap();
            workload.make(folder.path(), scale).unwrap()
        };
        assert_eq!(made(Workload::Small, 0.01), Amount { files: 200, bytes: 200 * 4096 });
        let large = made(Workload::Large, 0.003);
        assert_eq!(large, Amount { files: 3, bytes: 3 * whole(GIB as f64 * 0.003) as u64 });
        let mixed = made(Workload::Mixed, 0.01);
        assert!(mixed.files == 30 && mixed.bytes > 1024 * 1024, "{mixed}");
    }
}
