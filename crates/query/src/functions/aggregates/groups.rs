//! One shape for our own aggregates: state for many groups at once, used for a single group, too.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_empty_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use parking_lot::Mutex;
use strongroom_model::ColumnType;

/// What an aggregate computes, once its arguments are known.
pub(super) trait Plan: fmt::Debug + Clone + PartialEq + Eq + Hash + Send + Sync + 'static {
    /// The KQL name.
    fn name(&self) -> &'static str;
    /// What it gives for arguments of those types.
    fn gives(&self, args: &[DataType]) -> DataType;
    /// The columns of its state.
    fn state(&self, args: &[DataType]) -> Vec<DataType>;
    /// Fresh state. `kinds` are the KQL types as far as Arrow tells them.
    fn groups(&self, args: &[DataType], kinds: &[ColumnType]) -> Result<Box<dyn GroupsAccumulator>>;
}

/// A [`Plan`] as DataFusion calls it.
#[derive(Debug)]
pub(super) struct KqlAggregate<P> {
    pub(super) plan: P,
    signature: Signature,
}

impl<P: Plan> KqlAggregate<P> {
    pub(super) fn new(plan: P) -> Self {
        Self { plan, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl<P: Plan> PartialEq for KqlAggregate<P> {
    fn eq(&self, other: &Self) -> bool {
        self.plan == other.plan
    }
}

impl<P: Plan> Eq for KqlAggregate<P> {}

impl<P: Plan> Hash for KqlAggregate<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plan.name().hash(state);
        self.plan.hash(state);
    }
}

fn types(fields: &[FieldRef]) -> Vec<DataType> {
    fields.iter().map(|field| field.data_type().clone()).collect()
}

impl<P: Plan> KqlAggregate<P> {
    fn groups(&self, args: &AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let kinds: Vec<ColumnType> = args.expr_fields.iter().map(|f| ColumnType::of_field(f).unwrap_or(ColumnType::String)).collect();
        self.plan.groups(&types(args.expr_fields), &kinds)
    }
}

impl<P: Plan> AggregateUDFImpl for KqlAggregate<P> {
    fn name(&self) -> &str {
        self.plan.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.plan.gives(arg_types))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let state = self.plan.state(&types(args.input_fields));
        let field = |(index, kind): (usize, DataType)| Arc::new(Field::new(format!("{}[{index}]", args.name), kind, true));
        Ok(state.into_iter().enumerate().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let groups = self.groups(&args)?;
        Ok(Box::new(OneGroup { groups: Mutex::new(groups), args: types(args.expr_fields) }))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.groups(&args)
    }
}

/// State for many groups, used for one.
struct OneGroup {
    /// Accumulators are shared between threads, though never used by two at once.
    groups: Mutex<Box<dyn GroupsAccumulator>>,
    args: Vec<DataType>,
}

impl fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneGroup").finish_non_exhaustive()
    }
}

impl OneGroup {
    /// Makes sure that there is a group even if no row came.
    fn touch(&mut self) -> Result<()> {
        let empty: Vec<ArrayRef> = self.args.iter().map(new_empty_array).collect();
        self.groups.get_mut().update_batch(&empty, &[], None, 1)
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, Array::len);
        self.groups.get_mut().update_batch(values, &vec![0; rows], None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, Array::len);
        self.groups.get_mut().merge_batch(states, &vec![0; rows], 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.touch()?;
        ScalarValue::try_from_array(&self.groups.get_mut().evaluate(EmitTo::All)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.touch()?;
        let state = self.groups.get_mut().state(EmitTo::All)?;
        state.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.lock().size()
    }
}

/// Whether a row counts under an aggregate's FILTER.
pub(super) fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

/// How many groups go out.
pub(super) fn emitted(emit_to: EmitTo, groups: usize) -> usize {
    match emit_to {
        EmitTo::All => groups,
        EmitTo::First(count) => count.min(groups),
    }
}
