//! An Arrow IPC stream.

use arrow::array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use datafusion::error::DataFusionError;

use super::Encode;
use crate::QueryError;

pub(super) struct Ipc {
    schema: SchemaRef,
    writer: Option<StreamWriter<Vec<u8>>>,
}

impl Ipc {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: SchemaRef::clone(schema), writer: None }
    }
}

fn failed(error: ArrowError) -> QueryError {
    DataFusionError::from(error).into()
}

impl Encode for Ipc {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).map_err(failed)?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &self.schema, options).map_err(failed)?;
        out.append(writer.get_mut());
        self.writer = Some(writer);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let writer = self.writer.as_mut().ok_or_else(|| QueryError::internal("an answer was written before its start"))?;
        writer.write(batch).map_err(failed)?;
        out.append(writer.get_mut());
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let writer = self.writer.as_mut().ok_or_else(|| QueryError::internal("an answer ended before its start"))?;
        writer.finish().map_err(failed)?;
        out.append(writer.get_mut());
        Ok(())
    }
}
