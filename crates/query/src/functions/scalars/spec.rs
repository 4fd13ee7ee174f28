//! What a scalar function is: name, arguments, result, and how it is computed.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use hashbrown::HashSet;
use strongroom_model::ColumnType;

use super::args::{Call, MADE_MAX_BYTES};
use super::convert;
use crate::functions::{CallContext, Misfit, Typed};

/// One scalar function: how many arguments of which types it takes, what it gives, how it is computed.
#[derive(Debug)]
pub(crate) struct ScalarSpec {
    /// As messages call it.
    pub(crate) name: &'static str,
    /// Other names for it.
    pub(crate) aliases: &'static [&'static str],
    /// What it takes, by position.
    pub(super) takes: &'static [Want],
    /// How many of those must be there.
    pub(super) least: usize,
    /// What any further arguments are.
    pub(super) more: Option<Want>,
    /// What it gives.
    pub(super) gives: Gives,
    /// How.
    pub(super) make: Make,
}

/// What an argument may be; what converts silently is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Any,
    Bool,
    Long,
    Real,
    /// int or long become long, everything else that counts becomes real.
    Number,
    /// A number or a timespan.
    Quantity,
    String,
    DateTime,
    TimeSpan,
    Dynamic,
}

impl Want {
    /// What a value of that type is converted to for this; none: it does not fit.
    fn takes(self, kind: ColumnType) -> Option<ColumnType> {
        use ColumnType as C;
        let (fits, target) = match self {
            Self::Any => (true, kind),
            Self::String => (true, C::String),
            Self::Bool => (matches!(kind, C::Bool | C::Dynamic | C::Int | C::Long), C::Bool),
            Self::Long => (matches!(kind, C::Int | C::Long | C::Real | C::Bool | C::Dynamic | C::Decimal), C::Long),
            Self::Real => (matches!(kind, C::Int | C::Long | C::Real | C::Decimal | C::Dynamic), C::Real),
            Self::Quantity if kind == C::TimeSpan => (true, kind),
            Self::Number | Self::Quantity if matches!(kind, C::Int | C::Long | C::Bool) => (true, C::Long),
            Self::Number | Self::Quantity => (matches!(kind, C::Real | C::Decimal | C::Dynamic), C::Real),
            Self::DateTime => (matches!(kind, C::DateTime | C::Dynamic | C::String), C::DateTime),
            Self::TimeSpan => (matches!(kind, C::TimeSpan | C::Dynamic | C::String), C::TimeSpan),
            Self::Dynamic => (kind == C::Dynamic, C::Dynamic),
        };
        fits.then_some(target)
    }
}

/// What a function gives.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    Kind(ColumnType),
    /// The type of that argument.
    Same(usize),
    /// Computed from the types of the arguments.
    By(fn(&[ColumnType]) -> ColumnType),
}

impl std::fmt::Debug for Gives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gives")
    }
}

pub(super) type Kernel = fn(&Call<'_>) -> Result<ArrayRef>;
pub(super) type Macro = fn(Vec<Typed>, &CallContext) -> Result<Typed, Misfit>;

/// How a function is computed.
#[derive(Clone, Copy)]
pub(super) enum Make {
    /// Over columns.
    Kernel(Kernel),
    /// Over columns, anew for each row even if no argument is a column.
    Volatile(Kernel),
    /// By other expressions.
    Macro(Macro),
}

impl std::fmt::Debug for Make {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kernel(_) => "Kernel",
            Self::Volatile(_) => "Volatile",
            Self::Macro(_) => "Macro",
        })
    }
}

impl Misfit {
    pub(in crate::functions) fn argument(index: usize, message: impl Into<String>) -> Self {
        Self { argument: Some(index), message: message.into() }
    }

    pub(in crate::functions) fn call(message: impl Into<String>) -> Self {
        Self { argument: None, message: message.into() }
    }
}

impl ScalarSpec {
    /// The call's value. Arguments are converted where KQL does so silently (int to long to real; dynamic to what is wanted).
    ///
    /// # Errors
    /// The number or a type of the arguments does not fit.
    pub(crate) fn bind(&'static self, arguments: Vec<Typed>, context: &CallContext) -> Result<Typed, Misfit> {
        self.check_count(arguments.len())?;
        let mut fitting = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.into_iter().enumerate() {
            fitting.push(self.fit(index, argument)?);
        }
        match self.make {
            Make::Macro(make) => make(fitting, context),
            Make::Kernel(_) | Make::Volatile(_) => Ok(self.call(fitting)),
        }
    }

    fn check_count(&self, count: usize) -> Result<(), Misfit> {
        let most = if self.more.is_some() { usize::MAX } else { self.takes.len() };
        if (self.least..=most).contains(&count) {
            return Ok(());
        }
        let wanted = match (self.least, most) {
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        let noun = if wanted == "1" || wanted == "at least 1" { "argument" } else { "arguments" };
        Err(Misfit::call(format!("{}() takes {wanted} {noun}, not {count}", self.name)))
    }

    fn wanted(&self, index: usize) -> Want {
        self.takes.get(index).copied().or(self.more).unwrap_or(Want::Any)
    }

    fn fit(&self, index: usize, value: Typed) -> Result<Typed, Misfit> {
        let want = self.wanted(index);
        if let Some(kind) = want.takes(value.kind) {
            return Ok(convert::convert(value, kind));
        }
        let wanted = match want {
            Want::Any | Want::String => "value",
            Want::Bool => "bool",
            Want::Long => "long",
            Want::Real | Want::Number | Want::Quantity => "number",
            Want::DateTime => "datetime",
            Want::TimeSpan => "timespan",
            Want::Dynamic => "dynamic",
        };
        let hint = if want == Want::Dynamic && value.kind == ColumnType::String { "; parse it first: parse_json(..)" } else { "" };
        Err(Misfit::argument(index, format!("{}() takes a {wanted} here, not a {}{hint}", self.name, value.kind.as_str())))
    }

    /// The call as it is, arguments fitted.
    pub(super) fn call(&'static self, arguments: Vec<Typed>) -> Typed {
        let kinds: Vec<ColumnType> = arguments.iter().map(|a| a.kind).collect();
        let result = self.result(&kinds);
        self.call_giving(arguments, result)
    }

    /// The call with a result type the arguments alone do not tell.
    pub(super) fn call_giving(&'static self, arguments: Vec<Typed>, result: ColumnType) -> Typed {
        let kinds = arguments.iter().map(|a| a.kind).collect();
        let function = KqlFunction::new(self, Some((kinds, result)));
        let args: Vec<Expr> = arguments.into_iter().map(|a| a.expr).collect();
        if let Some(constant) = function.constant(&args) {
            return Typed::new(Expr::Literal(constant, None), result);
        }
        Typed::new(ScalarUDF::from(function).call(args), result)
    }

    fn result(&self, kinds: &[ColumnType]) -> ColumnType {
        match self.gives {
            Gives::Kind(kind) => kind,
            Gives::Same(index) => kinds.get(index).copied().unwrap_or(ColumnType::Dynamic),
            Gives::By(rule) => rule(kinds),
        }
    }

    /// As a function for SQL, which finds the types at run time; none if it is not one function, or its name is taken.
    pub(super) fn for_sql(&'static self, taken: &HashSet<String>) -> Option<ScalarUDF> {
        if matches!(self.make, Make::Macro(_)) || taken.contains(self.name) {
            return None;
        }
        let mut function = KqlFunction::new(self, None);
        function.aliases.retain(|alias| !taken.contains(alias));
        Some(ScalarUDF::from(function))
    }
}

/// A [`ScalarSpec`] as DataFusion calls it. Its name is the KQL name, so that plans and filters can be read.
#[derive(Debug)]
pub(crate) struct KqlFunction {
    spec: &'static ScalarSpec,
    /// The KQL types of arguments and result; none in SQL.
    bound: Option<(Vec<ColumnType>, ColumnType)>,
    signature: Signature,
    aliases: Vec<String>,
}

impl PartialEq for KqlFunction {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.spec, other.spec) && self.bound == other.bound
    }
}

impl Eq for KqlFunction {}

impl Hash for KqlFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.name.hash(state);
        self.bound.hash(state);
    }
}

impl KqlFunction {
    /// The call's value if every argument is a constant.
    fn constant(&self, args: &[Expr]) -> Option<ScalarValue> {
        let Make::Kernel(kernel) = self.spec.make else { return None };
        let (kinds, result) = self.bound.as_ref()?;
        let literal = |arg: &Expr| match arg {
            Expr::Literal(value, _) => Some(ColumnarValue::Scalar(value.clone())),
            _ => None,
        };
        let values: Vec<ColumnarValue> = args.iter().map(literal).collect::<Option<_>>()?;
        let array = self.run(kernel, &Call { args: &values, kinds, result: *result, rows: 1, full: Cell::new(false) }).ok()?;
        ScalarValue::try_from_array(&array, 0).ok()
    }

    fn run(&self, kernel: Kernel, call: &Call<'_>) -> Result<ArrayRef> {
        let array = kernel(call)?;
        if call.full.get() {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{}() makes more than {} MiB of a batch of rows",
                self.spec.name,
                MADE_MAX_BYTES >> 20
            )));
        }
        Ok(array)
    }

    fn new(spec: &'static ScalarSpec, bound: Option<(Vec<ColumnType>, ColumnType)>) -> Self {
        let volatility = if matches!(spec.make, Make::Volatile(_)) { Volatility::Volatile } else { Volatility::Immutable };
        // `rand()` has no arguments, which is not "any".
        let bound_signature = || Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility);
        let signature = if bound.is_some() { bound_signature() } else { Signature::user_defined(volatility) };
        let aliases = if bound.is_some() { Vec::new() } else { spec.aliases.iter().map(|&name| name.to_owned()).collect() };
        Self { spec, bound, signature, aliases }
    }
}

/// The KQL type of an Arrow type that carries no mark.
fn plain_kind(data_type: &DataType) -> ColumnType {
    ColumnType::of_field(&arrow::datatypes::Field::new("", data_type.clone(), true)).unwrap_or(ColumnType::String)
}

impl ScalarUDFImpl for KqlFunction {
    fn name(&self) -> &str {
        self.spec.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        if let Some((_, result)) = &self.bound {
            return Ok(result.query_type());
        }
        let kinds: Vec<ColumnType> = arg_types.iter().map(plain_kind).collect();
        Ok(self.spec.result(&kinds).query_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let result = if let Some((_, result)) = &self.bound {
            *result
        } else {
            let kinds: Vec<ColumnType> = args.arg_fields.iter().map(|f| ColumnType::of_field(f).unwrap_or(ColumnType::String)).collect();
            self.spec.result(&kinds)
        };
        Ok(Arc::new(result.query_field(self.spec.name)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if let Err(misfit) = self.spec.check_count(arg_types.len()) {
            return exec_err!("{}", misfit.message);
        }
        let target = |(index, data_type): (usize, &DataType)| {
            let kind = match (self.spec.wanted(index), plain_kind(data_type)) {
                (Want::Any, kind) => kind,
                (Want::TimeSpan, _) | (Want::Quantity, ColumnType::TimeSpan) => ColumnType::TimeSpan,
                (Want::Bool, _) => ColumnType::Bool,
                (Want::Long, _) | (Want::Number | Want::Quantity, ColumnType::Int | ColumnType::Long) => ColumnType::Long,
                (Want::Real | Want::Number | Want::Quantity, _) => ColumnType::Real,
                (Want::String | Want::Dynamic, _) => ColumnType::String,
                (Want::DateTime, _) => ColumnType::DateTime,
            };
            kind.query_type()
        };
        Ok(arg_types.iter().enumerate().map(target).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (Make::Kernel(kernel) | Make::Volatile(kernel)) = self.spec.make else {
            return exec_err!("{} is no function of its own", self.spec.name);
        };
        let volatile = matches!(self.spec.make, Make::Volatile(_));
        let constant = !volatile && args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let found;
        let (kinds, result) = if let Some((kinds, result)) = &self.bound {
            (kinds.as_slice(), *result)
        } else {
            let kind = |(index, field): (usize, &FieldRef)| match (self.spec.wanted(index), ColumnType::of_field(field)) {
                (Want::Dynamic, _) => ColumnType::Dynamic,
                (_, kind) => kind.unwrap_or(ColumnType::String),
            };
            found = args.arg_fields.iter().enumerate().map(kind).collect::<Vec<_>>();
            (found.as_slice(), self.spec.result(&found))
        };
        let array = self.run(kernel, &Call { args: &args.args, kinds, result, rows, full: Cell::new(false) })?;
        // What a call bound in KQL gives is known before; SQL texts bring types of all kinds.
        if self.bound.is_none() && *array.data_type() != result.query_type() {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            return exec_err!("{}() cannot be computed over {}", self.spec.name, kinds.join(", "));
        }
        if constant { Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)) } else { Ok(ColumnarValue::Array(array)) }
    }
}

/// A string constant.
pub(super) fn text(value: impl Into<String>) -> Typed {
    Typed::new(Expr::Literal(ScalarValue::Utf8View(Some(value.into())), None), ColumnType::String)
}

/// A long constant.
pub(super) fn long(value: i64) -> Typed {
    Typed::new(Expr::Literal(ScalarValue::Int64(Some(value)), None), ColumnType::Long)
}
