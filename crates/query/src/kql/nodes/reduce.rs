//! `reduce by`: texts gathered by likeness.
//!
//! A text is cut into terms where the separators are. It joins the group, of those with as many terms, that agrees with it in the
//! largest share of places, if that is at least the threshold; places where the group's texts differ, and terms with digits, are
//! shown as `*`. Groups of one text are told together as `others`. (After Vaarandi, "A Data Clustering Algorithm for Mining
//! Patterns From Event Logs", and He et al., "Drain", in one pass.) The number of groups is bounded; what comes when there are
//! too many is among the others.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, plan_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;

use super::{Maker, only};

/// Most groups with one number of terms.
const GROUPS_MAX: usize = 1_000;

/// Most terms of a text that are looked at; the rest is one term.
const TERMS_MAX: usize = 100;

/// One row a group: its pattern, how many texts it has, one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct ReduceNode {
    input: Arc<LogicalPlan>,
    text: Expr,
    likeness: Likeness,
    schema: DFSchemaRef,
}

/// When texts are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct Likeness {
    /// The bits of a share from 0 to 1.
    pub(in crate::kql) threshold: u64,
    /// What stands between terms; none: everything but ASCII letters and digits.
    pub(in crate::kql) separators: Option<String>,
}

impl PartialOrd for ReduceNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

fn answer() -> Schema {
    Schema::new(vec![
        Field::new("Pattern", DataType::Utf8View, true),
        Field::new("Count", DataType::Int64, true),
        Field::new("Representative", DataType::Utf8View, true),
    ])
}

impl ReduceNode {
    pub(in crate::kql) fn new(input: LogicalPlan, text: Expr, likeness: Likeness) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(answer())?);
        Ok(Self { input: Arc::new(input), text, likeness, schema })
    }

    pub(super) fn physical(&self, input: Arc<dyn ExecutionPlan>, make: &Maker<'_>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(ReduceExec::new(input, make.value(&self.text)?, self.likeness.clone())))
    }
}

impl UserDefinedLogicalNodeCore for ReduceNode {
    fn name(&self) -> &'static str {
        "Reduce"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.text.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reduce: by={}", self.text)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(text), Some(input)) = (exprs.pop(), inputs.pop()) else { return plan_err!("`reduce` needs an input and a text") };
        Self::new(input, text, self.likeness.clone())
    }

    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![Vec::new()])
    }
}

#[derive(Clone, Debug)]
struct ReduceExec {
    input: Arc<dyn ExecutionPlan>,
    text: Arc<dyn PhysicalExpr>,
    likeness: Likeness,
    properties: Arc<PlanProperties>,
}

impl ReduceExec {
    fn new(input: Arc<dyn ExecutionPlan>, text: Arc<dyn PhysicalExpr>, likeness: Likeness) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::new(answer())),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, text, likeness, properties: Arc::new(properties) }
    }
}

impl DisplayAs for ReduceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReduceExec: by={}", self.text)
    }
}

impl ExecutionPlan for ReduceExec {
    fn name(&self) -> &'static str {
        "ReduceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        f(&self.text)
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only(children)?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.text), self.likeness.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reservation = MemoryConsumer::new("ReduceExec").register(context.memory_pool());
        let mut input = self.input.execute(partition, context)?;
        let (text, schema) = (Arc::clone(&self.text), self.schema());
        let mut groups = Groups::new(&self.likeness, reservation);
        let shape = Arc::clone(&schema);
        let all = async move {
            while let Some(batch) = input.next().await {
                let batch = batch?;
                let texts = text.evaluate(&batch)?.into_array(batch.num_rows())?;
                let texts = texts.as_string_view();
                for row in 0..texts.len() {
                    groups.add(if texts.is_null(row) { "" } else { texts.value(row) })?;
                }
            }
            groups.finish(&shape)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(all))))
    }
}

struct Groups {
    threshold: f64,
    separators: Option<String>,
    /// By number of terms.
    of_length: HashMap<usize, Vec<Group>>,
    others: i64,
    reservation: MemoryReservation,
}

struct Group {
    /// None: they differ.
    terms: Vec<Option<String>>,
    /// What stands before each term, and behind the last, in the first text.
    between: Vec<String>,
    count: i64,
    first: String,
}

impl Groups {
    fn new(likeness: &Likeness, reservation: MemoryReservation) -> Self {
        let (threshold, separators) = (f64::from_bits(likeness.threshold), likeness.separators.clone());
        Self { threshold, separators, of_length: HashMap::new(), others: 0, reservation }
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of terms are small")]
    fn add(&mut self, text: &str) -> Result<()> {
        let (terms, between) = cut(text, self.separators.as_deref());
        let alike = self.of_length.entry(terms.len()).or_default();
        let mut best: Option<(usize, usize)> = None;
        for (at, group) in alike.iter().enumerate() {
            let same = group.terms.iter().zip(&terms).filter(|(there, term)| there.as_deref() == Some(**term)).count();
            if best.is_none_or(|(_, most)| same > most) {
                best = Some((at, same));
                if same == terms.len() {
                    break;
                }
            }
        }
        let share = |same: usize| if terms.is_empty() { 1.0 } else { same as f64 / terms.len() as f64 };
        // Two texts with nothing in common are not alike, however low the threshold.
        if let Some((at, same)) = best
            && share(same) >= self.threshold
            && (same > 0 || terms.is_empty())
        {
            let group = &mut alike[at];
            group.count += 1;
            for (there, term) in group.terms.iter_mut().zip(&terms) {
                if there.as_deref() != Some(*term) {
                    *there = None;
                }
            }
            return Ok(());
        }
        if alike.len() >= GROUPS_MAX {
            self.others += 1;
            return Ok(());
        }
        self.reservation.try_grow(2 * text.len() + 64 * (terms.len() + 1))?;
        alike.push(Group {
            terms: terms.into_iter().map(|term| Some(term.to_owned())).collect(),
            between: between.into_iter().map(str::to_owned).collect(),
            count: 1,
            first: text.to_owned(),
        });
        Ok(())
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut found: Vec<Group> = self.of_length.drain().flat_map(|(_, groups)| groups).collect();
        found.sort_by(|a, b| (Reverse(a.count), &a.first).cmp(&(Reverse(b.count), &b.first)));
        let single = found.iter().position(|group| group.count == 1).unwrap_or(found.len());
        let mut others = self.others;
        if found.len() - single > 1 || others > 0 {
            others += found.drain(single..).map(|group| group.count).sum::<i64>();
        }
        let mut patterns: Vec<String> = found.iter().map(Group::pattern).collect();
        let mut counts: Vec<i64> = found.iter().map(|group| group.count).collect();
        let mut firsts: Vec<String> = found.into_iter().map(|group| group.first).collect();
        if others > 0 {
            patterns.push("others".to_owned());
            counts.push(others);
            firsts.push(String::new());
        }
        let texts = |texts: Vec<String>| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(texts)) };
        Ok(RecordBatch::try_new(Arc::clone(schema), vec![texts(patterns), Arc::new(Int64Array::from(counts)), texts(firsts)])?)
    }
}

impl Group {
    fn pattern(&self) -> String {
        let mut pattern = String::new();
        for (at, term) in self.terms.iter().enumerate() {
            let shown = term.as_deref().filter(|term| !term.bytes().any(|byte| byte.is_ascii_digit()));
            let before = self.between.get(at).map_or("", String::as_str);
            if let Some(term) = shown {
                pattern.push_str(before);
                pattern.push_str(term);
            } else {
                // A letter that separates is part of what varies.
                pattern.extend(before.chars().filter(|c| !c.is_alphanumeric()));
                pattern.push('*');
            }
        }
        pattern.push_str(self.between.last().map_or("", String::as_str));
        pattern
    }
}

/// The terms of a text, and what stands before each of them and behind the last.
fn cut<'t>(text: &'t str, separators: Option<&str>) -> (Vec<&'t str>, Vec<&'t str>) {
    let separates = |c: char| match separators {
        Some(list) => list.contains(c),
        None => c.is_ascii() && !c.is_ascii_alphanumeric(),
    };
    let (mut terms, mut between) = (Vec::new(), Vec::new());
    let mut rest = text;
    loop {
        let start = rest.find(|c| !separates(c)).unwrap_or(rest.len());
        between.push(&rest[..start]);
        rest = &rest[start..];
        if rest.is_empty() {
            return (terms, between);
        }
        let end = if terms.len() + 1 == TERMS_MAX { rest.len() } else { rest.find(separates).unwrap_or(rest.len()) };
        terms.push(&rest[..end]);
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

    use super::*;

    fn groups(texts: &[&str], threshold: f64, separators: Option<&str>) -> Vec<(String, i64, String)> {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
        let likeness = Likeness { threshold: threshold.to_bits(), separators: separators.map(str::to_owned) };
        let mut groups = Groups::new(&likeness, MemoryConsumer::new("test").register(&pool));
        for text in texts {
            groups.add(text).unwrap();
        }
        let batch = groups.finish(&Arc::new(answer())).unwrap();
        let text = |column: usize, row: usize| batch.column(column).as_string_view().value(row).to_owned();
        let counts = batch.column(1).as_primitive::<arrow::datatypes::Int64Type>();
        (0..batch.num_rows()).map(|row| (text(0, row), counts.value(row), text(2, row))).collect()
    }

    #[test]
    fn texts_that_differ_in_few_terms_are_one_group() {
        let texts = ["user ann logged in", "user bob logged in", "disk full", "user eve logged out", "disk full"];
        let told = |pattern: &str, count, first: &str| (pattern.to_owned(), count, first.to_owned());
        assert_eq!(groups(&texts, 0.5, None), [told("user * logged *", 3, "user ann logged in"), told("disk full", 2, "disk full")]);
        assert_eq!(
            groups(&texts, 0.75, None),
            [
                told("disk full", 2, "disk full"),
                told("user * logged in", 2, "user ann logged in"),
                told("user eve logged out", 1, "user eve logged out")
            ]
        );
    }

    #[test]
    fn texts_with_nothing_in_common_are_others() {
        assert_eq!(groups(&["fooZ1", "fooZ2", "fooZ3"], 0.1, None), [("others".to_owned(), 3, String::new())]);
        assert_eq!(groups(&["fooZ1", "fooZ2", "fooZ3"], 0.1, Some("Z")), [("foo*".to_owned(), 3, "fooZ1".to_owned())]);
        assert_eq!(groups(&[""], 0.1, None), [(String::new(), 1, String::new())]);
    }
}
