//! Header fields, within the bounds of every head: so many, of so many bytes, and none that is the host's own.

use super::{
    super::View,
    FieldResult,
    types::{self, HeaderError},
};
use crate::capability::http::{HEAD_BYTES_MAX, HEADERS_MAX, is_forbidden};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use std::sync::Arc;
use wasmtime::component::Resource;

/// Fields, whether they may still be changed or not. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    map: Arc<HeaderMap>,
    bytes: usize,
    immutable: bool,
}

impl Fields {
    /// Those of an answer, without what is the host's own.
    pub fn received(mut map: HeaderMap) -> Self {
        let own: Vec<HeaderName> = map.keys().filter(|name| is_forbidden(name)).cloned().collect();
        for name in own {
            map.remove(name);
        }
        Self {
            bytes: bytes_of(&map),
            map: Arc::new(map),
            immutable: true,
        }
    }

    /// From now on they stay as they are.
    pub fn fix(&mut self) {
        self.immutable = true;
    }

    pub fn map(&self) -> &HeaderMap {
        &self.map
    }

    /// What they say about the length of the body. A second opinion, or anything but digits, is an error: two opinions
    /// about where a message ends are how requests are smuggled.
    pub fn content_length(&self) -> Result<Option<u64>, ()> {
        let mut values = self.map.get_all(CONTENT_LENGTH).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let digits = value.to_str().map_err(|_| ())?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if values.next().is_some() || !plain {
            return Err(());
        }
        digits.parse().map(Some).map_err(|_| ())
    }

    fn change(&mut self, change: impl FnOnce(&mut HeaderMap)) -> FieldResult<()> {
        let mut map = HeaderMap::clone(&self.map);
        change(&mut map);
        let bytes = bytes_of(&map);
        // The interface has no word for "too large"; of those it has, this one is no lie.
        if map.len() > HEADERS_MAX || bytes > HEAD_BYTES_MAX {
            return Err(HeaderError::Forbidden.into());
        }
        self.map = Arc::new(map);
        self.bytes = bytes;
        Ok(())
    }

    fn append(&mut self, name: &str, value: &[u8]) -> FieldResult<()> {
        let (name, value) = (self.changeable(name)?, value_of(value)?);
        // Looked at first, so that adding many is not paid for by copying what there is.
        let bytes = self.bytes + name.as_str().len() + value.len() + 4;
        if self.map.len() >= HEADERS_MAX || bytes > HEAD_BYTES_MAX {
            return Err(HeaderError::Forbidden.into());
        }
        Arc::make_mut(&mut self.map).append(name, value);
        self.bytes = bytes;
        Ok(())
    }

    /// The name, if it is one and may be changed.
    fn changeable(&self, name: &str) -> FieldResult<HeaderName> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::InvalidSyntax)?;
        if is_forbidden(&name) {
            return Err(HeaderError::Forbidden.into());
        }
        if self.immutable {
            return Err(HeaderError::Immutable.into());
        }
        Ok(name)
    }
}

fn value_of(value: &[u8]) -> Result<HeaderValue, HeaderError> {
    HeaderValue::from_bytes(value).map_err(|_| HeaderError::InvalidSyntax)
}

fn bytes_of(map: &HeaderMap) -> usize {
    map.iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

impl types::HostFields for View<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<Fields>> {
        Ok(self.table.push(Fields::default())?)
    }

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> FieldResult<Resource<Fields>> {
        let mut fields = Fields::default();
        for (name, value) in entries {
            fields.append(&name, &value)?;
        }
        Ok(self.table.push(fields)?)
    }

    fn get(&mut self, this: Resource<Fields>, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        let fields = self.table.get(&this)?;
        Ok(fields
            .map
            .get_all(name.to_ascii_lowercase().as_str())
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect())
    }

    fn has(&mut self, this: Resource<Fields>, name: String) -> wasmtime::Result<bool> {
        let fields = self.table.get(&this)?;
        Ok(fields.map.contains_key(name.to_ascii_lowercase().as_str()))
    }

    fn set(&mut self, this: Resource<Fields>, name: String, values: Vec<Vec<u8>>) -> FieldResult<()> {
        let fields = self.table.get_mut(&this)?;
        let name = fields.changeable(&name)?;
        if values.len() > HEADERS_MAX {
            return Err(HeaderError::Forbidden.into());
        }
        let values = values
            .iter()
            .map(|value| value_of(value))
            .collect::<Result<Vec<_>, _>>()?;
        fields.change(|map| {
            map.remove(&name);
            for value in values {
                map.append(name.clone(), value);
            }
        })
    }

    fn delete(&mut self, this: Resource<Fields>, name: String) -> FieldResult<()> {
        let fields = self.table.get_mut(&this)?;
        let name = fields.changeable(&name)?;
        fields.change(|map| {
            map.remove(name);
        })
    }

    fn append(&mut self, this: Resource<Fields>, name: String, value: Vec<u8>) -> FieldResult<()> {
        self.table.get_mut(&this)?.append(&name, &value)
    }

    fn entries(&mut self, this: Resource<Fields>) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        let fields = self.table.get(&this)?;
        Ok(fields
            .map
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect())
    }

    fn clone(&mut self, this: Resource<Fields>) -> wasmtime::Result<Resource<Fields>> {
        let fields = Fields {
            immutable: false,
            ..self.table.get(&this)?.clone()
        };
        Ok(self.table.push(fields)?)
    }

    fn drop(&mut self, this: Resource<Fields>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
