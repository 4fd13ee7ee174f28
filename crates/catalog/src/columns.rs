//! Between Rust values and SQLite's.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use strongroom_model::{Window, WindowLength};

use crate::CatalogError;

/// The columns of a row, taken one after the other.
#[derive(Debug)]
pub(crate) struct Columns<'r> {
    row: &'r SqliteRow,
    at: usize,
    what: &'static str,
}

impl<'r> Columns<'r> {
    pub(crate) fn of(row: &'r SqliteRow, what: &'static str) -> Self {
        Self { row, at: 0, what }
    }

    fn bad(&self) -> CatalogError {
        CatalogError::BadValue { what: self.what }
    }

    fn next<T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(&mut self) -> Result<T, CatalogError> {
        let value = self.row.try_get(self.at).map_err(|_| self.bad())?;
        self.at += 1;
        Ok(value)
    }

    /// Exactly `N` bytes: an id (16) or a hash (32).
    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CatalogError> {
        self.next::<&[u8]>()?.try_into().map_err(|_| self.bad())
    }

    /// As [`fixed`](Self::fixed), or nothing.
    pub(crate) fn fixed_opt<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CatalogError> {
        self.next::<Option<&[u8]>>()?.map(|bytes| bytes.try_into().map_err(|_| self.bad())).transpose()
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, CatalogError> {
        self.next()
    }

    pub(crate) fn bytes_opt(&mut self) -> Result<Option<Vec<u8>>, CatalogError> {
        self.next()
    }

    pub(crate) fn text(&mut self) -> Result<String, CatalogError> {
        self.next()
    }

    pub(crate) fn text_opt(&mut self) -> Result<Option<String>, CatalogError> {
        self.next()
    }

    /// Text that is a name or another type of ours.
    pub(crate) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, CatalogError> {
        self.next::<&str>()?.parse().map_err(|_| self.bad())
    }

    pub(crate) fn int(&mut self) -> Result<i64, CatalogError> {
        self.next()
    }

    pub(crate) fn int_opt(&mut self) -> Result<Option<i64>, CatalogError> {
        self.next()
    }

    /// A number of the type asked for: never negative where that has no sign.
    pub(crate) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, CatalogError> {
        T::try_from(self.next::<i64>()?).map_err(|_| self.bad())
    }

    pub(crate) fn number_opt<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, CatalogError> {
        self.next::<Option<i64>>()?.map(|value| T::try_from(value).map_err(|_| self.bad())).transpose()
    }

    /// A window's start and length.
    pub(crate) fn window(&mut self) -> Result<Window, CatalogError> {
        let start = self.next()?;
        let length = match self.next::<i64>()? {
            3_600 => WindowLength::Hour,
            86_400 => WindowLength::Day,
            _ => return Err(self.bad()),
        };
        Ok(Window { start, length })
    }
}

/// SQLite's integers are signed.
pub(crate) fn signed(value: u64, what: &'static str) -> Result<i64, CatalogError> {
    i64::try_from(value).map_err(|_| CatalogError::Invalid { what })
}
