//! Pages of a listing: prefix, delimiter, where to go on.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::index::Key;
use crate::object::Object;

/// The most entries of a page.
pub(crate) const PAGE_LIMIT: usize = 1_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    /// Not empty.
    pub(crate) delimiter: Option<&'a str>,
    /// Only keys after this one. If it is a common prefix (with the delimiter), that whole prefix is passed.
    pub(crate) after: &'a str,
    pub(crate) max: usize,
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(Key, Arc<Object>)>,
    pub(crate) prefixes: Vec<String>,
    /// The last entry, key or common prefix, if there is more: the `after` of the next page.
    pub(crate) next: Option<String>,
}

/// The page of `objects` that the query asks for, in the order of the bytes of the keys.
pub(crate) fn page(objects: &BTreeMap<Key, Arc<Object>>, query: Query<'_>) -> Page {
    let mut page = Page::default();
    let mut last = None;
    let mut start = first(query);
    if query.max == 0 {
        return page;
    }
    'seek: loop {
        let range = (start.as_ref().map(Vec::as_slice), Bound::Unbounded);
        for (key, object) in objects.range::<[u8], _>(range) {
            let Some(rest) = key.as_str().strip_prefix(query.prefix) else { break 'seek };
            if page.objects.len() + page.prefixes.len() >= query.max {
                page.next = last;
                break 'seek;
            }
            if let Some(length) = common_prefix_length(rest, query.delimiter) {
                let prefix = key.as_str()[..query.prefix.len() + length].to_owned();
                start = Bound::Included(successor(&prefix));
                last = Some(prefix.clone());
                page.prefixes.push(prefix);
                continue 'seek;
            }
            last = Some(key.as_str().to_owned());
            page.objects.push((key.clone(), Arc::clone(object)));
        }
        break;
    }
    page
}

fn first(query: Query<'_>) -> Bound<Vec<u8>> {
    let passed = query.after.strip_prefix(query.prefix).and_then(|rest| {
        let length = common_prefix_length(rest, query.delimiter)?;
        (length == rest.len()).then(|| successor(query.after))
    });
    match passed {
        Some(start) => Bound::Included(start),
        None if query.after >= query.prefix => Bound::Excluded(query.after.into()),
        None => Bound::Included(query.prefix.into()),
    }
}

/// The length of what comes up to the first delimiter, the delimiter included.
fn common_prefix_length(rest: &str, delimiter: Option<&str>) -> Option<usize> {
    let delimiter = delimiter?;
    rest.find(delimiter).map(|at| at + delimiter.len())
}

/// The first bytes after everything that begins with `prefix`.
fn successor(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xFF, so this does not overflow.
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Attributes;

    const KEYS: [&str; 9] = ["a", "a!b", "a.b", "a/b", "a/c/d", "a/é", "aé", "b/", "b/x"];

    fn objects() -> BTreeMap<Key, Arc<Object>> {
        let object = Arc::new(Object {
            size: 0,
            etag: String::new(),
            modified: 0,
            checksum: None,
            multipart: false,
            pieces: Vec::new(),
            attributes: Attributes::default(),
        });
        KEYS.into_iter().map(|key| (Key::from(key), Arc::clone(&object))).collect()
    }

    fn all_pages(query: Query<'_>) -> (Vec<String>, Vec<String>) {
        let objects = objects();
        let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
        let mut after = query.after.to_owned();
        loop {
            let page = page(&objects, Query { after: &after, ..query });
            assert!(page.objects.len() + page.prefixes.len() <= query.max);
            keys.extend(page.objects.into_iter().map(|(key, _)| key.as_str().to_owned()));
            prefixes.extend(page.prefixes);
            let Some(next) = page.next else { return (keys, prefixes) };
            assert!(next > after, "no progress");
            after = next;
        }
    }

    #[test]
    fn pages_of_any_size_give_all_keys_in_byte_order() {
        for max in 1..=10 {
            let (keys, prefixes) = all_pages(Query { max, ..Query::default() });
            assert_eq!(keys, KEYS);
            assert!(prefixes.is_empty());
        }
    }

    #[test]
    fn delimiters_roll_up() {
        for max in 1..=10 {
            let query = Query { max, delimiter: Some("/"), ..Query::default() };
            let (keys, prefixes) = all_pages(query);
            assert_eq!(keys, ["a", "a!b", "a.b", "aé"]);
            assert_eq!(prefixes, ["a/", "b/"]);
            let (keys, prefixes) = all_pages(Query { prefix: "a/", ..query });
            assert_eq!(keys, ["a/b", "a/é"]);
            assert_eq!(prefixes, ["a/c/"]);
        }
    }

    #[test]
    fn start_after() {
        let query = Query { max: 10, after: "a/b", ..Query::default() };
        assert_eq!(all_pages(query).0, ["a/c/d", "a/é", "aé", "b/", "b/x"]);
        assert_eq!(all_pages(Query { prefix: "b", ..query }).0, ["b/", "b/x"]);
        assert!(all_pages(Query { prefix: "a!", ..query }).0.is_empty());
    }

    #[test]
    fn nothing_is_asked_for() {
        let page = page(&objects(), Query::default());
        assert!(page.objects.is_empty() && page.next.is_none());
    }
}
