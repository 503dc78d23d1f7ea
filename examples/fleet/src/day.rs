//! All trips of a day, on all cores, in order.

use std::io::Write as _;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;

use chrono::NaiveDate;
use s3backup_core::CancellationToken;

use crate::analysis::analyse;
use crate::atomic::AtomicFile;
use crate::digest::{self, Digest, DigestBuilder};
use crate::error::Error;
use crate::limits::Limits;
use crate::ordered::in_order;
use crate::part::Part;
use crate::settings::Settings;
use crate::tables::{self, Table, Tables};
use crate::trip::Trip;
use crate::zones::Zones;
use crate::{files, page, summary};

/// One pass over the trips of a day.
///
/// Every pass reads the raw data and depends on nothing that another one wrote. Memory is that of a few trips for each core, however many there
/// are. What it makes does not depend on the number of cores.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// What counts as what, and where things are.
    pub settings: &'a Settings,
    /// The speed limits.
    pub limits: &'a Limits,
    /// The local day.
    pub day: NaiveDate,
    /// Which share of it.
    pub part: Part,
    /// Ends it early.
    pub cancel: &'a CancellationToken,
}

impl Pass<'_> {
    /// Analyses the trips, and hands each to `each`, on this thread and in the order of their names.
    ///
    /// A trip that cannot be used is one of them, and says so itself. After the token was cancelled it ends when the files that are in hand are
    /// done.
    ///
    /// # Errors
    /// What `each` says; [`Error::Data`] when there is no folder to search, [`Error::Interrupted`], [`Error::Worker`].
    pub fn trips(&self, mut each: impl FnMut(Trip) -> Result<(), Error>) -> Result<(), Error> {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let find = |give: &mut dyn FnMut(files::Found) -> ControlFlow<()>| {
            files::find(&self.settings.data, self.day, &mut |found| {
                if self.cancel.is_cancelled() {
                    ControlFlow::Break(())
                } else if self.part.has(&found.file.vehicle, self.day) {
                    give(found)
                } else {
                    ControlFlow::Continue(())
                }
            })
        };
        let work = |found| analyse(found, self.settings, self.limits);
        in_order(workers, find, work, |trip| {
            if self.cancel.is_cancelled() { Err(Error::Interrupted) } else { each(trip) }
        })
    }

    /// Writes these tables of the day, shows each trip to `watch`, and gives the digest.
    ///
    /// The tables appear when all trips are done, each when it is whole: whatever ends this early leaves those of before.
    ///
    /// # Errors
    /// As [`trips`](Self::trips), and [`Error::Io`], [`Error::DiskFull`] and [`Error::Table`].
    pub fn write(&self, wanted: &[Table], mut watch: impl FnMut(&Trip)) -> Result<Digest, Error> {
        let mut tables =
            Tables::create(&self.settings.results, self.day, self.part, wanted, &self.settings.figures)?;
        let mut digest = DigestBuilder::new(self.day, self.settings.timezone, &self.settings.figures);
        self.trips(|trip| {
            watch(&trip);
            digest.add(&trip);
            tables.add(&trip)
        })?;
        tables.finish()?;
        Ok(digest.finish())
    }
}

/// Writes what says all of a day, of the digest of all its parts: the row of the fleet, the summary and the page, which shows the zones.
///
/// # Errors
/// [`Error::Io`], [`Error::DiskFull`] and [`Error::Table`].
pub fn publish(results: &Path, digest: &Digest, zones: &Zones) -> Result<(), Error> {
    tables::write_fleet(results, digest)?;
    summary::write(results, digest)?;
    let page = page_path(results, digest.day);
    let mut file = AtomicFile::create(&page)?;
    file.write_all(page::render(digest, zones).as_bytes()).map_err(Error::io("write", &page))?;
    file.commit()
}

/// Where the page of a day is.
pub fn page_path(results: &Path, day: NaiveDate) -> PathBuf {
    results.join("pages").join(format!("{day}.html"))
}

/// Puts together the digests of the parts of a day.
///
/// # Errors
/// [`Error::MissingParts`] when any of their files is not there, tables included; [`Error::Digest`] when one cannot be used; [`Error::Io`].
pub fn merge(settings: &Settings, day: NaiveDate, parts: u32) -> Result<Digest, Error> {
    let results = &settings.results;
    let files = Part::all(parts).flat_map(|part| {
        let tables = Table::ALL.into_iter().filter(|table| *table != Table::Fleet);
        let tables = tables.map(move |table| tables::path(results, table, day, part));
        tables.chain([digest::path(results, day, part)])
    });
    let missing: Vec<PathBuf> = files.filter(|path| !path.exists()).collect();
    if !missing.is_empty() {
        return Err(Error::MissingParts { day, missing });
    }
    let mut whole = Digest::new(day, settings.timezone, &settings.figures);
    for part in Part::all(parts) {
        let digest = digest::read(results, day, part)?;
        whole.merge(&digest).map_err(|unlike| Error::Digest {
            path: digest::path(results, day, part),
            problem: format!("it cannot be put together with the settings of this run: {unlike}; run `fleet run --part {part}` again"),
        })?;
    }
    Ok(whole)
}
