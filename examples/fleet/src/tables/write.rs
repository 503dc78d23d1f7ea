//! One Parquet file, filled row by row.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::Table;
use super::rows::Cell;
use super::schema::{self, Column, Kind};
use crate::atomic::AtomicFile;
use crate::error::Error;

/// The most cells of a group, rows times columns: what a reader reads at once, and what is held until it is written. Some 100,000
/// rows of points, and fewer of the wider tables.
const GROUP_CELLS: usize = 1 << 20;

/// The most bytes of texts of a group, of lines that could not be read above all.
const GROUP_TEXT_BYTES: usize = 16 << 20;

/// The table of a part while it is written.
pub(super) struct TableFile {
    path: PathBuf,
    writer: SerializedFileWriter<AtomicFile>,
    columns: Vec<Buffer>,
    rows: usize,
    text_bytes: usize,
}

impl std::fmt::Debug for TableFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TableFile {
    pub(super) fn create(path: &Path, table: Table) -> Result<Self, Error> {
        let columns = schema::columns(table);
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(schema::descriptions(&columns)));
        for column in columns.iter().filter(|column| !matches!(column.kind, Kind::Text)) {
            // Hardly a number comes twice, so a dictionary would only cost time.
            let path = ColumnPath::from(column.name);
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
            // From point to point, times and lines grow by the same: as differences they take hardly any room, which makes
            // the table of points almost half as large.
            if matches!(column.kind, Kind::Time | Kind::Int) {
                properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
        }
        let file = AtomicFile::create(path)?;
        let writer = schema::to_parquet(table, &columns)
            .and_then(|schema| SerializedFileWriter::new(file, schema, Arc::new(properties.build())));
        Ok(Self {
            path: path.to_owned(),
            writer: writer.map_err(Error::table(path))?,
            columns: columns.into_iter().map(Buffer::new).collect(),
            rows: 0,
            text_bytes: 0,
        })
    }

    /// Adds a row.
    pub(super) fn push(&mut self, cells: impl IntoIterator<Item = Cell>) -> Result<(), Error> {
        let mut cells = cells.into_iter();
        for column in &mut self.columns {
            let cell = cells.next().unwrap_or(Cell::Null);
            if column.column.kind == Kind::Bytes
                && let Cell::Bytes(bytes) = &cell
            {
                self.text_bytes += bytes.len();
            }
            column.push(cell).map_err(Error::table(&self.path))?;
        }
        self.rows += 1;
        if self.rows * self.columns.len() >= GROUP_CELLS || self.text_bytes >= GROUP_TEXT_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the rows that are held as a group.
    fn flush(&mut self) -> Result<(), Error> {
        let mut write = || -> Result<(), ParquetError> {
            let mut group = self.writer.next_row_group()?;
            for buffer in &mut self.columns {
                let mut column = group.next_column()?.ok_or_else(|| general("a column too many"))?;
                buffer.write(column.untyped())?;
                column.close()?;
            }
            group.close()?;
            Ok(())
        };
        write().map_err(Error::table(&self.path))?;
        self.rows = 0;
        self.text_bytes = 0;
        Ok(())
    }

    /// Puts the file in its place, and returns that.
    pub(super) fn finish(mut self) -> Result<PathBuf, Error> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.writer.into_inner().map_err(Error::table(&self.path))?.commit()?;
        Ok(self.path)
    }
}

fn general(problem: &str) -> ParquetError {
    ParquetError::General(problem.to_owned())
}

/// The cells of a column that are not written yet.
struct Buffer {
    column: Column,
    values: Values,
    /// 1 for a row with a value, 0 for one without; of optional columns only.
    defined: Vec<i16>,
}

enum Values {
    Bytes(Vec<ByteArray>),
    Int(Vec<i64>),
    Float(Vec<f64>),
}

impl Buffer {
    fn new(column: Column) -> Self {
        let values = match column.kind {
            Kind::Text | Kind::Bytes => Values::Bytes(Vec::new()),
            Kind::Time | Kind::Int => Values::Int(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
        };
        Self { column, values, defined: Vec::new() }
    }

    fn push(&mut self, cell: Cell) -> Result<(), ParquetError> {
        if self.column.optional {
            self.defined.push(i16::from(cell != Cell::Null));
        }
        match (&mut self.values, cell) {
            (Values::Bytes(values), Cell::Bytes(value)) => values.push(value),
            (Values::Int(values), Cell::Int(value)) => values.push(value),
            (Values::Float(values), Cell::Float(value)) => values.push(value),
            (_, Cell::Null) if self.column.optional => {}
            (_, cell) => return Err(general(&format!("{} cannot be {cell:?}", self.column.name))),
        }
        Ok(())
    }

    /// Writes the cells and forgets them.
    fn write(&mut self, writer: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let defined = self.column.optional.then_some(self.defined.as_slice());
        match (writer, &mut self.values) {
            (ColumnWriter::ByteArrayColumnWriter(writer), Values::Bytes(values)) => {
                writer.write_batch(values, defined, None)?;
                values.clear();
            }
            (ColumnWriter::Int64ColumnWriter(writer), Values::Int(values)) => {
                writer.write_batch(values, defined, None)?;
                values.clear();
            }
            (ColumnWriter::DoubleColumnWriter(writer), Values::Float(values)) => {
                writer.write_batch(values, defined, None)?;
                values.clear();
            }
            _ => return Err(general("a column of another type than its cells")),
        }
        self.defined.clear();
        Ok(())
    }
}
