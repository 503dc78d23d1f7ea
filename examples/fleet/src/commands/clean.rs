//! `fleet clean`: the points that are possible.

use s3backup_fleet::digest::Digest;
use s3backup_fleet::tables::Table;

use super::told::by_rule;
use super::{Say, one_table};
use crate::cli::Work;
use crate::exit::{Exit, Stop};
use crate::session::Session;

struct Clean;

impl Say for Clean {
    fn text(&self, digest: &Digest) -> String {
        by_rule(&digest.total)
    }
}

pub(crate) fn run(session: &Session, work: &Work) -> Result<Exit, Stop> {
    one_table(session, work, Table::Points, |_| Clean)
}
