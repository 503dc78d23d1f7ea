//! Files that were planned and not begun: large ones overtake small ones.
//!
//! The last bytes of a run are then those of small files, of which many are on their way side by side, and not those of one
//! large file that the walk met last; and large files never stand in the way of small ones, nor the other way round.

use std::collections::VecDeque;

use crate::Upload;

/// How far ahead large files are looked for. A file takes about half a KiB here.
const MOST: usize = 4096;

#[derive(Default)]
pub(crate) struct Queue {
    /// What has just come; sorted at once.
    pub(crate) came: Vec<Upload>,
    pub(crate) small: VecDeque<Upload>,
    pub(crate) large: VecDeque<Upload>,
}

impl Queue {
    /// How many more may come.
    pub(crate) fn room(&self) -> usize {
        MOST.saturating_sub(self.small.len() + self.large.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Puts what has come where it belongs, in the order in which it came.
    pub(crate) fn sort(&mut self, is_small: impl Fn(u64) -> bool) {
        for upload in self.came.drain(..) {
            let queue = if is_small(upload.entry.stat.size) { &mut self.small } else { &mut self.large };
            queue.push_back(upload);
        }
    }
}
