"""The thirty-two inputs and faults, what is expected of each, and the tests of the suite that show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """needs_long: the tests alone do not show it."""

    number: int
    fault: str
    expected: str
    tests: tuple[str, ...] = ()
    needs_long: bool = False


BAD, BAD_INPUT = "tests/faults/test_bad_files.py::test_", "tests/faults/test_bad_input.py::test_"
SAVES, SERVER = "tests/faults/test_checkpoints.py::test_", "tests/faults/test_server.py::test_"
DAMAGE, FOREIGN = "tests/checkpoints/test_damage.py::test_", "tests/checkpoints/test_foreign.py::test_"
HUB, WORDS = "tests/checkpoints/test_hub.py::test_", "tests/checkpoints/test_words.py::test_"
PIPE, PLANS = "tests/pipelines/test_text_to_image.py::test_", "tests/schedulers/test_plans.py::test_"
DESK, RUNS = "tests/server/test_desk.py::test_", "tests/server/test_runs.py::test_"
GUARD, ASKED = "tests/server/test_guard.py::test_", "tests/server/test_asked.py::test_"
TRAINING, LATENTS = "tests/end_to_end/test_training.py::test_", "tests/pipelines/test_latents.py::test_"
HOSTILE = "tests/text/test_prompt_hostile.py::test_"

CASES = (
    Case(
        1,
        "SIGKILL at a random point of a checkpoint's save, 50 times; at each file of it",
        "the newest complete one is resumed, never a partial one",
        (
            f"{SAVES}killed_again_and_again_it_always_goes_on_from_a_whole_one",
            f"{SAVES}killed_inside_a_write_of_the_first_the_second_and_the_manifest_it_goes_on_from_the_older_one",
            f"{SAVES}a_damaged_one_is_passed_over_and_named",
        ),
        needs_long=True,
    ),
    Case(
        2,
        "disk full during a save",
        "told with the path; the old checkpoint stands; the run or the server goes on or ends cleanly",
        (
            f"{SAVES}a_full_disk_is_told_and_the_older_one_stands",
            f"{BAD_INPUT}a_full_disk_while_saving_leaves_nothing",
            f"{RUNS}a_disk_that_is_full_fails_the_job_and_not_the_next",
            f"{DESK}with_a_full_disk_no_job_is_taken_and_the_one_that_runs_is_told_of",
            f"{SERVER}2_a_full_disk_is_told_and_passes",
        ),
    ),
    Case(
        3,
        "power cut after a save",
        "every file and its folder are flushed to the disk before the name is visible",
        (f"{SAVES}files_reach_the_disk_before_the_name_does",),
        needs_long=True,
    ),
    Case(
        4,
        "safetensors cut short, empty, a web page, zeros",
        "a typed error that tells the cause",
        (f"{BAD}every_way_in_refuses_it_and_leaves_nothing", f"{DAMAGE}a_file_cut_short"),
    ),
    Case(
        5,
        "one flipped byte of the weights",
        "an error, where a manifest has their hash",
        (f"{DAMAGE}a_flipped_byte", f"{SAVES}a_damaged_one_is_passed_over_and_named"),
    ),
    Case(
        6,
        "one tensor missing",
        "an error that names it",
        (
            f"{DAMAGE}a_renamed_tensor",
            f"{DAMAGE}missing_tensors_are_counted",
            f"{FOREIGN}a_file_that_cannot_be_accounted_for_is_refused_with_the_name[missing]",
        ),
    ),
    Case(
        7,
        "a tensor too many; all renamed; one of another shape",
        "errors",
        (
            f"{DAMAGE}an_extra_tensor",
            f"{DAMAGE}all_tensors_renamed",
            f"{DAMAGE}a_tensor_of_another_shape",
            f"{FOREIGN}a_file_that_cannot_be_accounted_for_is_refused_with_the_name[extra]",
            f"{FOREIGN}a_file_that_cannot_be_accounted_for_is_refused_with_the_name[shape]",
        ),
    ),
    Case(
        8,
        "a weight that is nan or infinite",
        "refused",
        (
            f"{DAMAGE}a_weight_that_is_not_finite",
            f"{FOREIGN}a_file_that_cannot_be_accounted_for_is_refused_with_the_name[nan]",
            f"{FOREIGN}a_file_that_cannot_be_accounted_for_is_refused_with_the_name[inf]",
        ),
    ),
    Case(
        9,
        "a pickle with code as model, LoRA, embedding, ControlNet, optimizer, state (.ckpt, .pt, .pth, .bin, renamed)",
        "never runs; a clear refusal",
        (
            f"{BAD}a_pickle_with_code_runs_nothing",
            f"{BAD}a_pickle_with_code_runs_nothing_in_any_place",
            f"{WORDS}a_pickle_with_code_is_refused_and_not_run",
            f"{DAMAGE}a_pickle_under_our_name_is_never_opened",
            f"{TRAINING}a_pickle_where_a_run_keeps_its_state_runs_nothing",
        ),
    ),
    Case(
        10,
        "a configuration that names a foreign class, module or repository, `None.py`",
        "refused, nothing imported",
        (
            f"{FOREIGN}a_folder_that_says_strange_things_is_refused_and_nothing_is_imported",
            f"{DAMAGE}a_description_is_an_allow_list",
        ),
    ),
    Case(
        11,
        "bombs: safetensors headers that lie, PNGs of 13,000 and 50,000 pixels a side",
        "refused within 0.5 s and 100 MB",
        (
            f"{BAD}a_bomb_is_refused_without_the_memory_that_it_asks_for",
            f"{DAMAGE}headers_that_lie",
            f"{DAMAGE}a_header_too_long_is_not_read",
            "tests/test_images.py::test_a_bomb_is_refused_from_its_header",
            f"{RUNS}pictures_that_cannot_be_read_are_told_by_their_field",
        ),
        needs_long=True,
    ),
    Case(
        12,
        r"names with `../`, `C:\`, `CON`, NUL, a link, 300 characters, and made-up ones",
        "refused; nothing outside the folder",
        (
            f"{SERVER}12_no_name_leads_out_of_the_folder",
            f"{SERVER}12_no_made_up_name_does",
            f"{DESK}no_name_leads_out_of_the_folder",
            "tests/pipelines/test_repeat_whole.py::test_no_name_of_a_stranger_leads_out_of_the_folder",
            f"{FOREIGN}shards_stay_in_their_folder_and_weights_must_be_there",
        ),
    ),
    Case(
        13,
        "foreign Origin, `null`, cookies, a rebound Host, OPTIONS: 74 header sets",
        "403; no change of state",
        (
            f"{GUARD}a_request_is_answered_or_refused_by_its_headers",
            f"{SERVER}13_a_page_of_another_site_changes_nothing",
        ),
    ),
    Case(
        14,
        "bound to 0.0.0.0 without a token",
        "does not start",
        (f"{SERVER}14_what_others_can_reach_needs_a_token",),
    ),
    Case(
        15,
        "a prompt of 1 MB of `(`; thirty hostile patterns",
        "refused, or read within 50 ms; twice the text is at most 2.5 times the work",
        (
            f"{HOSTILE}twice_the_text_is_at_most_twice_the_work",
            f"{HOSTILE}the_longest_prompts_are_read_or_refused",
            f"{SERVER}15_a_prompt_that_is_an_attack_is_answered",
        ),
        needs_long=True,
    ),
    Case(
        16,
        "steps 0, -1, 1.5, 1001; sizes 0, 33, -32; guidance nan, inf; no pictures; eta 5; by every scheduler",
        "an error that names the field",
        (
            f"{PIPE}no_scheduler_takes_a_number_that_makes_no_sense",
            f"{PIPE}more_fresh_noise_than_a_step_has_is_refused",
            f"{PIPE}what_makes_no_sense_is_refused_before_the_first_step",
            f"{BAD_INPUT}a_value_that_makes_no_sense",
            f"{ASKED}what_makes_no_sense_is_refused_and_its_field_named",
        ),
    ),
    Case(
        17,
        "nan from the network at step k; from the decoder",
        "an error that names stage and step; the decoder once more in float32",
        (
            f"{PIPE}nan_from_the_network_names_the_step",
            f"{LATENTS}a_decoder_without_finite_numbers_is_told",
            f"{LATENTS}half_precision_that_overflows_is_asked_again_in_float32",
            f"{BAD_INPUT}a_network_that_leaves_the_finite_numbers_makes_no_file",
            f"{RUNS}numbers_that_are_not_finite_make_no_picture_and_the_next_job_is_as_ever",
        ),
    ),
    Case(
        18,
        "two threads, one pipeline, sixteen schedulers, three times",
        "what one after the other gives",
        (
            f"{PIPE}two_threads_share_a_pipeline_and_agree_with_one_after_the_other",
            f"{PLANS}two_threads_share_one_plan",
        ),
    ),
    Case(
        19,
        "1, 4 and 16 pictures at once, in any order, of the same seeds",
        "noise to the bit; pictures within 1e-4",
        (
            f"{PIPE}one_and_four_and_sixteen_at_a_time_in_any_order_are_the_same_pictures",
            f"{PIPE}the_third_of_four_equals_the_same_seed_alone",
            f"{PIPE}the_noise_itself_does_not_know_the_batch",
            f"{PLANS}a_sample_of_a_batch_is_the_sample_alone",
        ),
    ),
    Case(
        20,
        "one seed on a CPU and on a GPU",
        "noise to the bit; no pixel 0.01 apart in float32",
        (),
        needs_long=True,
    ),
    Case(
        21,
        "a client closes its connection at step 3",
        "stops within a step; the job is `cancelled`, its place free",
        (f"{SERVER}21_a_client_that_goes_away_frees_its_place", f"{RUNS}a_job_that_is_left_makes_no_picture"),
    ),
    Case(
        22,
        "a waiting and a running job are cancelled",
        "within a step; no picture; the next job as ever",
        (
            f"{SERVER}22_a_cancelled_job_changes_nothing_for_the_next",
            f"{DESK}a_job_that_runs_is_left_at_once_without_a_picture_and_the_next_is_as_ever",
        ),
    ),
    Case(
        23,
        "100 requests at once, a queue of 16",
        "17 are taken and made, 83 get 429 and Retry-After within 100 ms; health answers within 100 ms (p99)",
        (
            f"{SERVER}23_a_full_queue_says_so_and_what_it_took_is_made",
            f"{DESK}a_hundred_at_once_are_taken_as_far_as_there_are_places",
        ),
        needs_long=True,
    ),
    Case(
        24,
        "SIGTERM with one job running and five waiting",
        "the running one is made, five are kept, exit 0",
        (
            f"{SERVER}24_25_what_was_taken_outlives_the_process",
            f"{DESK}a_server_that_ends_finishes_what_runs_and_keeps_what_waits",
        ),
    ),
    Case(
        25,
        "SIGKILL with one running and five waiting, then a start",
        "all six are made, no file twice",
        (
            f"{SERVER}24_25_what_was_taken_outlives_the_process",
            f"{DESK}jobs_of_a_server_that_was_killed_are_made_by_the_next",
        ),
    ),
    Case(
        26,
        "a job that kills the worker",
        "failed after two attempts; others are made",
        (f"{DESK}a_job_that_takes_a_worker_with_it_is_made_again_once",),
    ),
    Case(
        27,
        "no memory in the network, in the decoder, a second time",
        "one by one, in strips, else an error; the same picture; memory freed",
        (
            f"{RUNS}without_memory_for_all_at_once_each_picture_is_made_alone",
            f"{RUNS}without_memory_for_the_decoder_it_decodes_in_strips_and_a_second_time_fails",
            f"{RUNS}without_memory_at_all_the_job_fails_and_frees_what_it_had",
        ),
    ),
    Case(
        28,
        "500 small jobs, 20 changes of the model",
        "memory grows by less than 20 kB a job",
        (f"{RUNS}jobs_leave_nothing_in_memory", f"{RUNS}another_model_takes_the_place_of_the_first"),
        needs_long=True,
    ),
    Case(
        29,
        "no network; a hub that fails, never answers, is cut at half, sends other contents",
        "what is in the cache works; no part is left; a clear error",
        (
            f"{HUB}the_cache_is_read_without_network_or_library",
            f"{HUB}a_download_that_is_cut_goes_on_where_it_was_and_leaves_no_part",
            f"{HUB}contents_that_the_hub_did_not_promise_are_removed_and_told",
            f"{HUB}a_hub_that_fails_or_never_answers_is_told_and_what_is_here_needs_none",
        ),
    ),
    Case(
        30,
        "the average of bfloat16 weights, decay 0.9999, 2,000 updates",
        "within 1e-4 of the closed form",
        ("tests/training/test_ema.py::test_average_of_a_jump_follows_its_closed_form_in_every_dtype",),
    ),
    Case(
        31,
        "a resume inside an epoch, with dropout, by another number of workers",
        "losses and weights to the bit",
        (
            f"{TRAINING}thirty_steps_equal_thirteen_and_seventeen_to_the_bit",
            f"{TRAINING}asked_to_stop_it_saves_and_another_process_goes_on",
        ),
    ),
    Case(
        32,
        "a secret prompt, done, refused, cancelled",
        "in no log and no error; only in the queue's file and the picture",
        (f"{SERVER}32_a_prompt_is_in_no_log", f"{DESK}the_log_tells_of_jobs_and_not_of_prompts"),
    ),
)
