//! Lists in order: `sort by t | summarize make_list(x)`.
//!
//! DataFusion computes an aggregate in parts and joins their states in any order. Only its own `array_agg` keeps an order through
//! that; so values are gathered by it first, and our aggregate then runs over each gathered list.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow_schema::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, Sort};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{AggregateUDF, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// An aggregate of one argument, split: what gathers its input in order, and what makes its result of that.
pub(super) fn split(call: &AggregateFunction, keys: &[Sort]) -> Option<(Expr, Arc<ScalarUDF>)> {
    if call.params.args.len() != 1 || call.params.distinct || !call.params.order_by.is_empty() {
        return None;
    }
    let mut gathered = call.clone();
    let own = std::mem::replace(&mut gathered.func, array_agg_udaf());
    gathered.params.order_by = keys.to_vec();
    let finish = ScalarUDF::new_from_impl(OverList { own, signature: Signature::any(1, Volatility::Immutable) });
    Some((Expr::AggregateFunction(gathered), Arc::new(finish)))
}

/// The result of a split aggregate over the column that holds its gathered input.
pub(super) fn finish(udf: &Arc<ScalarUDF>, gathered: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(udf), vec![gathered]))
}

/// Runs an aggregate over each list of a column of lists. Null for no list.
#[derive(Debug)]
struct OverList {
    own: Arc<AggregateUDF>,
    signature: Signature,
}

impl PartialEq for OverList {
    fn eq(&self, other: &Self) -> bool {
        self.own == other.own
    }
}

impl Eq for OverList {}

impl Hash for OverList {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.own.hash(state);
    }
}

impl OverList {
    fn element(list: &DataType) -> Result<FieldRef> {
        match list {
            DataType::List(element) => Ok(Arc::clone(element)),
            other => exec_err!("a list is needed, not {other}"),
        }
    }

    fn aggregate(&self, values: &ArrayRef, element: &FieldRef, result: &FieldRef) -> Result<ScalarValue> {
        let fields = [Arc::clone(element)];
        let mut accumulator = self.own.accumulator(AccumulatorArgs {
            return_field: Arc::clone(result),
            schema: &Schema::empty(),
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: self.own.name(),
            is_distinct: false,
            exprs: &[],
            expr_fields: &fields,
        })?;
        accumulator.update_batch(std::slice::from_ref(values))?;
        accumulator.evaluate()
    }
}

impl ScalarUDFImpl for OverList {
    fn name(&self) -> &'static str {
        "kql_over_list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [list] = types else { return exec_err!("one list is needed") };
        self.own.return_type(&[Self::element(list)?.data_type().clone()])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let element = Self::element(array.data_type())?;
        let kind = args.return_field.data_type().clone();
        let result: FieldRef = Arc::new(Field::new(self.own.name(), kind.clone(), true));
        let lists = array.as_list::<i32>();
        let mut results = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            results.push(if lists.is_null(row) {
                ScalarValue::try_from(&kind)?
            } else {
                self.aggregate(&lists.value(row), &element, &result)?
            });
        }
        if results.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&kind)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(results)?))
    }
}
