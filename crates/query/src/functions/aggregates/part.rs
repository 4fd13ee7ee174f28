//! One field of a struct that a function gives.
//!
//! Not DataFusion's `get_field`: its optimizer moves that one towards the scans and trips over its own names on the way (55.2,
//! `push_down_leaf_projections`: "Schema contains duplicate unqualified field name").

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray};
use arrow::compute::nullif;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// Field number `index`; null where the struct is.
pub(crate) fn part(of: Expr, index: usize) -> Expr {
    static PART: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Part { signature: Signature::any(2, Volatility::Immutable) })));
    let index = Expr::Literal(ScalarValue::UInt64(Some(index as u64)), None);
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&PART), vec![of, index]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    signature: Signature,
}

fn number(index: Option<&ScalarValue>) -> Result<usize> {
    let Some(ScalarValue::UInt64(Some(index))) = index else { return exec_err!("a field is named by a constant number") };
    Ok(usize::try_from(*index).unwrap_or(usize::MAX))
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &'static str {
        "kql_part"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        exec_err!("the type depends on the number")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<arrow::datatypes::FieldRef> {
        let index = number(args.scalar_arguments.get(1).copied().flatten())?;
        match args.arg_fields[0].data_type() {
            DataType::Struct(fields) if index < fields.len() => Ok(Arc::new(fields[index].as_ref().clone().with_nullable(true))),
            other => exec_err!("{other} has no field {index}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let index = match &args.args[1] {
            ColumnarValue::Scalar(index) => number(Some(index))?,
            ColumnarValue::Array(_) => return exec_err!("a field is named by a constant number"),
        };
        let array = args.args[0].to_array(args.number_rows)?;
        let Some(parts) = array.as_struct_opt() else { return exec_err!("a struct is needed, not {}", array.data_type()) };
        let field = parts.column(index);
        if parts.null_count() == 0 {
            return Ok(ColumnarValue::Array(Arc::clone(field)));
        }
        Ok(ColumnarValue::Array(nullif(field, &arrow::compute::is_null(parts)?)?))
    }
}
