"""The tables of the warehouse, one schema a domain view, and what is asked of a table so named.

Knows columns and types, not where rows come from.
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.errors import WarehouseError
from warehouse.rows import PARENTS, ROW_ID

_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "id": ROW_ID,
    "parents": PARENTS,
    "ints": pa.list_(pa.int32()),
    "bools": pa.list_(pa.bool_()),
    "layers": pa.list_(pa.int32()),
    "messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    "turns": pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.string()), ("train", pa.bool_())])
    ),
}

# `name:type`; a `?` marks a column that a table may leave out (it is then all null).
_COLUMNS = {
    "problems": "row_id:id domain:str kind:str source:str question:str expected_answer:str "
    "difficulty:int license:str tests:str split:str subject:str? subtopic:str? "
    "prompt_messages:str? metadata:str? composition:str? parents:parents?",
    "generations": "row_id:id problem_id:id role:str model:str model_version:str reasoning:str "
    "sample_index:int temperature:float top_p:float response:str prompt_tokens:int "
    "completion_tokens:int finish_reason:str domain:str? parents:parents?",
    "verdicts": "row_id:id? generation_id:id verifier:str verdict:str evidence:str "
    "parents:parents?",
    "judgements": "row_id:id generation_id:id domain:str known:str verdict:str evidence:str "
    "reply:str prompt:str model:str model_version:str finish_reason:str parents:parents?",
    "votes": "row_id:id problem_id:id domain:str answer:str outcome:str leader:str answers:int "
    "votes:int leader_votes:int second_votes:int evidence:str parents:parents?",
    "ballots": "row_id:id generation_id:id problem_id:id answer:str counts_for:str counted:bool "
    "reason:str parents:parents?",
    "judge_agreement": "domain:str model:str prompt:str judged:int unknown:int compared:int "
    "agreed:int agreement:float ci_low:float ci_high:float wrong_accepted:int right_refused:int",
    "feedback": "row_id:id generation_id:id problem_id:id domain:str sample_index:int feedback:str "
    "fault:str reply:str prompt:str model:str model_version:str prompt_tokens:int "
    "completion_tokens:int finish_reason:str parents:parents?",
    "edits": "row_id:id generation_id:id feedback_id:id problem_id:id domain:str reasoning:str "
    "response:str fault:str reply:str prompt:str model:str model_version:str prompt_tokens:int "
    "completion_tokens:int finish_reason:str parents:parents?",
    "choices": "row_id:id generation_id:id problem_id:id domain:str outcome:str edit_id:id "
    "candidates:int evidence:str reply:str reply_turned:str prompt:str model:str "
    "model_version:str parents:parents?",
    "feedback_edit_gain": "name:str domain:str measure:str answers:str problems:int drafts:int "
    "left_out:int accuracy:float ci_low:float ci_high:float gain:float gain_low:float "
    "gain_high:float refused:str",
    "dropped": "row_id:id reason:str evidence:str matched_row_id:id? parents:parents?",
    "question_kinds": "row_id:id source:str kind:str evidence:str",
    "contamination": "member:id item:id method:str score:float decision:str evidence:str "
    "reply:str?",
    "duplicates": "cluster:id member:id kept:bool similarity:float method:str member_asset:str",
    "sources": "source:str rows_in:int kept:int dropped:int shard:str?",
    "rejected": "source:str file:str line:int field:str value:str reason:str",
    "texts": "row_id:id text:str? context:str? messages:turns? source:str file:str? line:int? "
    "bytes:int text_hash:int license:str split:str? parents:parents?",
    "sft_samples": "row_id:id domain:str input:messages output:str category:str license:str "
    "reasoning:str generator:str version:str system_prompt:str tokens:int parents:parents?",
    "pass_rates": "row_id:id? problem_id:id domain:str samples:int correct:int unknown:int "
    "truncated:int pass_rate:float kept:bool reason:str? parents:parents?",
    "curriculum": "row_id:id? model:str step:int problem_id:id pass_rate:float parents:parents?",
    "rollouts": "row_id:id? model:str stage:str step:int problem_id:id sample_index:int "
    "response:str reward:float reward_accuracy:float reward_format:float advantage:float "
    "tokens:int policy_version:str parents:parents?",
    "training_metrics": "step:int tokens:int metric:str value:float stage:str?",
    "block_scores": "model:str layer:int attention:str ffn:str metric:str value:float "
    "ci_low:float ci_high:float samples:int source:str?",
    "run_scores": "model:str layers:layers ffn:str metric:str value:float ci_low:float "
    "ci_high:float samples:int",
    "block_costs": "model:str layer:int attention:str ffn:str parameters:int weight_bytes:int "
    "kv_bytes_per_token:int activation_bytes:int prefill_seconds:float decode_seconds:float "
    "batch:int prefill_length:int decode_length:int dtype:str hardware:str engine:str",
    "training_plans": "row_id:id model:str stage:str position:int tokens:int flops:float "
    "weights_bytes:int gradients_bytes:int optimizer_bytes:int activation_bytes:int "
    "logits_bytes:int teacher_bytes:int total_bytes:int zero_stage:int ranks:int hardware:str "
    "hours:float published_hours:float refusal:str parents:parents?",
    "measured_choices": "model:str method:str objective:float kl:float ci_low:float ci_high:float "
    "parameters:int chosen:bool",
    "architectures": "model:str layer:int attention:str ffn:str fused_into:int",
    "benchmarks": "model:str stage:str benchmark:str reasoning:str problems:int samples:int "
    "accuracy:float ci_low:float ci_high:float domain:str? difficulty:int? correct:int? "
    "metric:str? value:float? method:str? chance:float? at_chance:bool?",
    "claims": "claim:str source:str paper:float measured:float ci_low:float ci_high:float "
    "unit:str seeds:int holds:bool",
    "corpus": "row_id:id text_ids:ints loss_mask:bools kind:str domain:str parents:parents?",
    "blends": "row_id:id sample_id:id stage:str position:int parents:parents?",
    "preferences": "row_id:id problem_id:id chosen:str rejected:str chosen_reward:float "
    "rejected_reward:float reasoning:str parents:parents?",
    "answers": "row_id:id problem_id:id reasoning:str sample_index:int response:str verdict:str "
    "difficulty:int domain:str benchmark:str thinking_tokens:int completion_tokens:int "
    "follows_toggle:bool parents:parents?",
}


def _parse(columns: str) -> tuple[pa.Schema, frozenset[str]]:
    fields, optional = [], set()
    for column in columns.split():
        name, kind = column.split(":")
        if kind.endswith("?"):
            optional.add(name)
        fields.append(pa.field(name, _TYPES[kind.rstrip("?")]))
    return pa.schema(fields), frozenset(optional)


_PARSED = {name: _parse(columns) for name, columns in _COLUMNS.items()}
SCHEMAS: dict[str, pa.Schema] = {name: schema for name, (schema, _) in _PARSED.items()}
OPTIONAL: dict[str, frozenset[str]] = {name: optional for name, (_, optional) in _PARSED.items()}
RESERVED = ("asset_key", "data_version")  # every view adds these


def plain(schema: pa.Schema) -> pa.Schema:
    """`schema` without metadata and with dictionary columns as their values."""
    fields = []
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def conform(table: pa.Table, name: str, asset_key: str) -> pa.Table:
    """`table` in the declared columns and types of the table `name`, further columns after them.

    Tables without a declared schema only lose metadata and dictionary encoding. `WarehouseError`
    names the column that is missing, reserved, or cannot be cast without loss.
    """
    reserved = [c for c in RESERVED if c in table.column_names]
    if reserved:
        raise WarehouseError(
            f"{asset_key}: table {name!r} has a column {reserved[0]!r}, which the view adds itself"
        )
    schema = SCHEMAS.get(name)
    if schema is None:
        return table.cast(plain(table.schema))
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            if field.name not in OPTIONAL[name]:
                raise WarehouseError(
                    f"{asset_key}: table {name!r} lacks the column {field.name!r} ({field.type}); "
                    f"it has {', '.join(table.column_names)}"
                )
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise WarehouseError(
                f"{asset_key}: table {name!r}, column {field.name!r}: {column.type} does not fit "
                f"{field.type}: {str(error).splitlines()[0]}"
            ) from error
    extra = plain(table.select([c for c in table.column_names if c not in schema.names]).schema)
    columns += [table.column(field.name).cast(field.type) for field in extra]
    return pa.table(columns, schema=pa.schema([*schema, *extra]))
