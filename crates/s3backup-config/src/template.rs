//! The file that `backup init` writes.

/// A commented `backup.toml` with every key, its default and its meaning. It loads once a bucket and a source are
/// filled in.
pub fn template() -> &'static str {
    include_str!("template.toml")
}
