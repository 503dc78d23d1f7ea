//! How much one message may hold.

/// How much one message may hold; the defaults are what Slack accepts, or less where less reads better.
///
/// Characters are counted after escaping, as UTF-16 code units, which is never less than Slack counts. A limit of 0
/// leaves that part out, except `text_chars`, of which at least one character is used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Blocks in a message. Default 50, Slack's limit.
    pub blocks: usize,
    /// Characters of the header. Default 150, Slack's limit.
    pub header_chars: usize,
    /// Characters of a section's text. Default 3,000, Slack's limit.
    pub section_chars: usize,
    /// Fields of a section. Default 10, Slack's limit.
    pub fields_per_section: usize,
    /// Characters of a field. Default 500; Slack's limit is 2,000.
    pub field_chars: usize,
    /// Characters of the plain text beside the blocks. Default 4,000, what Slack recommends.
    pub text_chars: usize,
    /// Characters of all blocks together. Default 10,000. Slack does not document its own limit: messages of about
    /// 13,000 characters are refused with `msg_blocks_too_long`, and some of less than 12,000.
    pub total_chars: usize,
    /// Facts that are shown. Default 20.
    pub facts: usize,
    /// Failures that are shown. Default 10.
    pub failures: usize,
    /// Warnings that are shown. Default 5.
    pub warnings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            blocks: 50,
            header_chars: 150,
            section_chars: 3_000,
            fields_per_section: 10,
            field_chars: 500,
            text_chars: 4_000,
            total_chars: 10_000,
            facts: 20,
            failures: 10,
            warnings: 5,
        }
    }
}
