//! Monitors that were given over the API, each as the document that was put, and where every monitor was written.

use super::time::Wall;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc};

/// Bytes of one document: a monitor is a few hundred.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 10;
/// Documents of one host. They stand in memory and are built anew with each change; more monitors than that are a list of
/// targets in a file.
pub const DOCUMENTS_MAX: usize = 100_000;
/// Bytes of all of them.
pub const BYTES_MAX: usize = 128 << 20;

/// One monitor as somebody put it.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// The JSON, as it came.
    pub text: Box<str>,
    /// When.
    pub at: Wall,
    /// Who: the name of a token.
    pub by: Box<str>,
}

impl Document {
    /// What tells this text from another one: the beginning of its SHA-256, in hexadecimal digits.
    #[must_use]
    pub fn etag(&self) -> String {
        let digest = Sha256::digest(self.text.as_bytes());
        digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The documents of one tenant, by name of the monitor.
pub type OfTenant = BTreeMap<Arc<str>, Arc<Document>>;

/// All documents of a host, by tenant. A clone shares what is not changed afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents(BTreeMap<Arc<str>, Arc<OfTenant>>);

impl Documents {
    /// Those of a tenant.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Option<&OfTenant> {
        self.0.get(tenant).map(AsRef::as_ref)
    }

    /// That one.
    #[must_use]
    pub fn get(&self, tenant: &str, name: &str) -> Option<&Arc<Document>> {
        self.of(tenant)?.get(name)
    }

    /// Puts one in the place of whatever was there.
    pub fn put(&mut self, tenant: &Arc<str>, name: &Arc<str>, document: Arc<Document>) {
        let own = self.0.entry(Arc::clone(tenant)).or_default();
        Arc::make_mut(own).insert(Arc::clone(name), document);
    }

    /// Takes one away, and tells which it was.
    pub fn remove(&mut self, tenant: &str, name: &str) -> Option<Arc<Document>> {
        let own = self.0.get_mut(tenant)?;
        let removed = own
            .contains_key(name)
            .then(|| Arc::make_mut(own).remove(name))
            .flatten();
        if own.is_empty() {
            self.0.remove(tenant);
        }
        removed
    }

    /// All of them: tenant, name, document.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Arc<Document>)> {
        let tenants = self.0.iter();
        tenants.flat_map(|(tenant, own)| own.iter().map(move |(name, document)| (tenant, name, document)))
    }

    /// Each tenant that has any, and its own.
    pub fn tenants(&self) -> impl Iterator<Item = (&Arc<str>, &OfTenant)> {
        self.0.iter().map(|(tenant, own)| (tenant, own.as_ref()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(|own| own.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes they have together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(_, _, document)| document.text.len()).sum()
    }
}

/// A document that is kept, but not in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Whose.
    pub tenant: Arc<str>,
    /// The monitor's name.
    pub name: Arc<str>,
    /// Why, in a line or two.
    pub why: Arc<str>,
}

/// Who says what a monitor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A file of the configuration.
    File {
        /// As the operator or the tenant named it.
        file: Arc<str>,
        /// From 1.
        line: u32,
    },
    /// A document that was put over the API.
    Api,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Api => f.write_str("the API"),
        }
    }
}

/// Where the monitors of a generation were written, each found by its place in the list of all. A few bytes for a table,
/// and four for each row of a list of targets.
#[derive(Clone, Debug, Default)]
pub struct Places(Vec<Stretch>);

/// Monitors that one table made.
#[derive(Clone, Debug)]
struct Stretch {
    /// The place of the first one.
    first: u32,
    /// None: documents of the API.
    file: Option<Arc<str>>,
    line: u32,
    /// The line of each, where they are rows of a file.
    rows: Arc<[u32]>,
}

impl Places {
    /// The monitors from that place on were made by the table in that line; `rows`: the line of each, if they are rows of a
    /// file. Must come in order.
    pub fn of_file(&mut self, first: u32, file: Arc<str>, line: u32, rows: Arc<[u32]>) {
        self.0.push(Stretch {
            first,
            file: Some(file),
            line,
            rows,
        });
    }

    /// The monitors from that place on are the API's.
    pub fn of_api(&mut self, first: u32) {
        self.0.push(Stretch {
            first,
            file: None,
            line: 0,
            rows: Arc::new([]),
        });
    }

    /// Those of another list follow, which begins at that place.
    pub fn append(&mut self, first: u32, others: &Self) {
        self.0.extend(others.0.iter().map(|stretch| Stretch {
            first: first.saturating_add(stretch.first),
            ..stretch.clone()
        }));
    }

    /// Who says what the monitor in that place is.
    #[must_use]
    pub fn owner(&self, monitor: u32) -> Owner {
        let after = self.0.partition_point(|stretch| stretch.first <= monitor);
        let stretch = after.checked_sub(1).and_then(|at| self.0.get(at));
        match stretch.and_then(|stretch| Some((stretch, stretch.file.as_ref()?))) {
            Some((stretch, file)) => Owner::File {
                file: Arc::clone(file),
                line: usize::try_from(monitor - stretch.first)
                    .ok()
                    .and_then(|row| stretch.rows.get(row).copied())
                    .unwrap_or(stretch.line),
            },
            None => Owner::Api,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Arc<Document> {
        Arc::new(Document {
            text: text.into(),
            at: Wall(1),
            by: "deploy".into(),
        })
    }

    #[test]
    fn a_clone_is_another_set_of_documents() {
        let (acme, shop): (Arc<str>, Arc<str>) = ("acme".into(), "shop".into());
        let mut one = Documents::default();
        one.put(&acme, &shop, document("{}"));
        let mut two = one.clone();
        two.put(&acme, &shop, document("{ }"));
        assert_eq!(&*one.get("acme", "shop").unwrap().text, "{}");
        assert_eq!((two.bytes(), two.len()), (3, 1));
        assert!(two.remove("acme", "other").is_none() && two.remove("other", "shop").is_none());
        assert!(two.remove("acme", "shop").is_some() && two.is_empty());
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn another_text_has_another_tag() {
        assert_ne!(document("{}").etag(), document("{ }").etag());
        assert_eq!(document("{}").etag().len(), 20);
    }

    #[test]
    fn every_monitor_is_found_where_it_was_written() {
        let mut own = Places::default();
        own.of_file(0, "a.toml".into(), 3, Arc::new([]));
        own.of_file(1, "a.csv".into(), 9, [2, 4].into());
        let mut all = own.clone();
        all.append(3, &own);
        all.of_api(6);
        let shown: Vec<String> = (0..8).map(|at| all.owner(at).to_string()).collect();
        assert_eq!(
            shown,
            [
                "a.toml:3", "a.csv:2", "a.csv:4", "a.toml:3", "a.csv:2", "a.csv:4", "the API", "the API"
            ]
        );
    }
}
