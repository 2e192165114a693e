"""Lecture 6 of the sample course as a slide deck: GPU performance. The content is the list SLIDES; build() lays it out."""

import sys
from pathlib import Path

from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.util import Inches, Pt

# Each slide: title, bullets (a leading "  " makes a sub-point), notes, and where there is one a table (rows, the first is the header) or code.
SLIDES = [
    dict(title="Lecture 6: GPU performance", subtitle="CS 4470 Large Language Model Systems · Alderbrook University\nProf. Mara Lindqvist · October 13 and 15, 2026",
         notes="Welcome. Lecture 5 was about many GPUs; this week we look inside one. By Thursday you should be able to take any operation of a transformer, say in two lines of arithmetic whether memory or arithmetic limits it, and know which remedy fits. This is the last lecture that the midterm on October 22 covers; Tuesday October 20 is the review session."),
    dict(title="Why look inside the GPU",
         bullets=["Depending on the operation, one card runs near its peak or 200 times below it", "Prefill of a long prompt: limited by arithmetic", "Decoding one sequence: limited by reading the weights", "Many small operations: limited by neither, but by starting them",
                  "Three questions for any kernel: how many FLOPs, how many bytes, how many launches?"],
         notes="Suppose you replace the matrix product of your decoder by one with twice the peak throughput and measure no difference at all. Nothing need be wrong with the kernel: the operation is waiting for memory. Optimizing the resource that isn't the bottleneck gives nothing. So first diagnose, then optimize. The three questions on the slide lead to the three regimes: compute-bound, memory-bound and overhead-bound."),
    dict(title="One Fenwick GPU in round numbers",
         bullets=["Planning figures for all estimates of lectures 5 to 8"],
         table=[["Resource", "Amount"], ["Streaming multiprocessors (SMs)", "84"], ["Dense fp16 on tensor cores", "160 TFLOP/s"], ["fp32 on ordinary cores", "40 TFLOP/s"],
                ["Device memory", "48 GB at 800 GB/s"], ["L2 cache, shared by all SMs", "6 MB"], ["Registers per SM", "65,536 × 32 bit = 256 KB"],
                ["Shared memory and L1 per SM", "128 KB, of which up to 100 KB shared"], ["Host link (PCIe)", "25 GB/s"]],
         notes="These are rounded so that you can calculate in your head; real sustained figures are below the peaks, typically 50 to 80 percent for large matrix products and 80 to 90 percent for streaming memory. Note the ratio of tensor cores to ordinary cores: four to one. A kernel that does its arithmetic outside tensor cores has a lower roof. Also add up the registers: 84 times 256 KB is about 21 MB, more than the L2 cache. The register file is the largest fast memory on this chip."),
    dict(title="The memory hierarchy",
         bullets=["Each level outwards: larger, slower, shared by more threads", "Good kernels read from device memory once and reuse on chip"],
         table=[["Level", "Shared by", "Size", "Latency (order)", "Bandwidth (order)"], ["Registers", "one thread", "up to 255 per thread", "1 cycle", "tens of TB/s"], ["Shared memory / L1", "one block / SM", "128 KB per SM", "30 cycles", "about 15 TB/s in total"],
                ["L2", "whole GPU", "6 MB", "200 cycles", "2 to 4 TB/s"], ["Device memory", "whole GPU", "48 GB", "500 cycles", "0.8 TB/s"], ["Host memory", "node", "hundreds of GB", "microseconds", "0.025 TB/s"]],
         notes="Orders of magnitude only; measure your own card if you need exact ones. Two jumps matter most. From shared memory to device memory the bandwidth falls by a factor of about twenty. From device memory to the host it falls by another factor of 32, which is why offloading weights to the host makes decoding so slow: Wren's 2.6 GB take 3.25 ms from device memory and 104 ms over PCIe. The L1 and shared memory are the same physical storage; the programmer manages the shared part explicitly, the hardware manages L1."),
    dict(title="Threads, warps, blocks",
         bullets=["Thread: one lane of execution with its own registers", "Warp: 32 threads that execute one instruction together", "Block: up to 1,024 threads on one SM, with common shared memory and a barrier", "Grid: all blocks of a launch; their order is not defined",
                  "Divergence: if lanes of a warp take different branches, the branches run one after another"],
         notes="The warp is the unit that hardware schedules. Each SM here has four schedulers; every cycle each picks a warp that is ready and issues one instruction for its 32 lanes. When a warp waits for memory the scheduler picks another one; switching costs nothing because all the warps' registers stay resident. Divergence example: if (lane % 2 == 0) A else B makes the warp run A with half the lanes masked and then B with the other half, so it takes the time of both. A branch that is the same for all 32 lanes, such as one on the block index, costs nothing extra. Blocks cannot wait for each other within an ordinary launch, so anything needing a global barrier usually becomes two kernels."),
    dict(title="The roofline model",
         bullets=["Arithmetic intensity I = FLOPs ÷ bytes moved to and from device memory", "Attainable performance = min(peak FLOP/s, I × bandwidth)", "Ridge point: peak ÷ bandwidth", "Fenwick GPU: 160 TFLOP/s ÷ 800 GB/s = 200 FLOP per byte",
                  "Below the ridge: memory-bound. Above: compute-bound"],
         notes="The model is due to Williams, Waterman and Patterson, 2009. Draw it with both axes logarithmic: a slope on the left, a flat roof on the right. It is an upper bound: a kernel can lie well under the roof, for example because it doesn't have enough parallelism. For fp32 on ordinary cores the roof is 40 TFLOP/s and the ridge lies at 50 FLOP per byte. Trend to remember: for years peak arithmetic has grown faster than memory bandwidth, so the ridge moves to the right and more operations become memory-bound with each generation."),
    dict(title="Intensity of a matrix product (GEMM)",
         bullets=["C = A·B, with A of M×K and B of K×N", "FLOPs: 2·M·N·K", "Bytes in fp16, each matrix touched once: 2·(M·K + K·N + M·N)", "Square case M = N = K = n: intensity n ÷ 3", "n = 600 reaches the ridge of 200; n = 2,048 gives 683"],
         notes="Where n over 3 comes from: two n cubed operations divided by three matrices of n squared elements with two bytes each, six n squared bytes. Data grows with the square and work with the cube, so large products are compute-bound. This assumes that each element crosses the memory bus once, which a real kernel approaches by tiling. A naive kernel in which every thread reads its own row and column moves far more bytes and falls off the roof to the left."),
    dict(title="Intensity of a matrix times a vector (GEMV)",
         bullets=["M = 1: every weight is read once and used once", "2 FLOPs per weight of 2 bytes: intensity 1 FLOP per byte", "1 ÷ 200: at most half a percent of the peak", "Decoding a single sequence is a chain of GEMVs",
                  "No better kernel helps; fewer bytes do: batching, quantization, or fewer weights"],
         notes="One FLOP per byte times 800 GB/s is 0.8 TFLOP/s out of 160. The card is at 0.5 percent of peak and yet fully busy, because its memory bus is saturated. For Wren, one token needs all 2.6 GB, so 3.25 ms at the least, however clever the kernel is. With 4-bit weights the bytes fall by nearly four, and so does the time; lecture 9 is about this. Lecture 7 will do the same estimate including the KV cache."),
    dict(title="Batching moves you along the roofline",
         bullets=["Wren's feed-forward up-projection, 2,048 × 8,192, for T tokens at once"],
         table=[["Tokens T", "FLOP per byte", "Memory time", "Arithmetic time", "Bound by"], ["1", "1.0", "42 µs", "0.2 µs", "memory"], ["16", "15.8", "42 µs", "3.4 µs", "memory"], ["64", "61.6", "44 µs", "13 µs", "memory"],
                ["256", "221", "48 µs", "54 µs", "arithmetic"], ["1,024", "630", "68 µs", "215 µs", "arithmetic"]],
         notes="Read the memory column: from 1 to 64 tokens the time rises from 42 to 44 microseconds. Sixty-three additional tokens are nearly free, because the weights are read once for all of them. The crossing is near 228 tokens for this matrix, a little above 200 because the inputs and outputs also have to be moved. This table is the reason servers batch decoding, and the reason prefill, which processes hundreds of tokens of one prompt at once, is compute-bound even for a single user."),
    dict(title="Occupancy",
         bullets=["Occupancy = resident warps ÷ maximum (48 per SM here)", "Limited by registers, shared memory, and block size", "256 threads × 64 registers = 16,384: four blocks fit, 32 warps, 67 %", "At 128 registers a thread: two blocks, 16 warps, 33 %", "At 64 registers but 40 KB of shared memory a block: two blocks, 33 %"],
         notes="Occupancy serves one purpose: to have other warps to run while some wait. Little's law says how much must be in flight: 800 GB/s times 500 nanoseconds is 400 KB, about 4.8 KB per SM. You can get this with many warps that each have one load outstanding, or few warps that each have several. So high occupancy isn't a goal in itself. Good matrix product kernels often run at 15 to 30 percent, with lots of registers per thread holding the accumulators. What you must avoid is register spilling: if the compiler is forced below what it needs, registers go to local memory, which despite its name lies in device memory."),
    dict(title="Coalescing memory accesses",
         bullets=["Memory is fetched in sectors of 32 bytes; a cache line has 128", "32 lanes reading 32 adjacent floats: 4 sectors, 128 useful bytes of 128", "Stride of 32 floats: 32 sectors, 128 useful bytes of 1,024: 12.5 %", "Rule: adjacent lanes read adjacent addresses", "Typical sin: reading a row-major matrix down its columns"],
         code="// coalesced: lane varies fastest\nx = in[row * width + threadIdx.x];\n// strided: neighbours are `width` apart\nx = in[threadIdx.x * width + col];",
         notes="The hardware merges the addresses of one warp's load into as few sectors as possible. With a stride every lane pulls in a whole 32-byte sector for its 4 bytes, so seven eighths of the bandwidth are wasted, unless the neighbours are used soon and still in cache. The usual remedy for a transpose is to read a tile coalesced, put it into shared memory, and write it coalesced in the other direction. Vector loads of 16 bytes a lane also help because they need fewer instructions."),
    dict(title="Tiling in shared memory, and bank conflicts",
         bullets=["A b × b tile is loaded once and used b times: traffic falls by the factor b", "Tile 128 × 128 of the output: inner loop over slices of K", "Shared memory has 32 banks of 4 bytes", "Lanes that hit different words of one bank are served one after another", "Remedy: pad the row by one element, or swizzle"],
         notes="Without tiling, each element of the first matrix is read N times. With tiles of 128 it is read N over 128 times. Bank conflicts: a tile of 32 by 32 floats read down a column puts all 32 lanes on the same bank, a 32-way conflict. Declaring it as 32 by 33 shifts each row by one bank and the conflict is gone. If all lanes read the very same word, that is a broadcast and costs nothing. In practice you call a library for GEMM and write your own kernels for what lies between the GEMMs."),
    dict(title="Kernel launch overhead",
         bullets=["A launch costs the order of 5 µs; in an eager framework 10 to 20 µs with dispatch", "Launches are asynchronous: hidden as long as the GPU is behind the CPU", "Wren decode: some 10 kernels × 24 layers = 240 launches a token", "240 × 15 µs = 3.6 ms, more than the 3.25 ms of memory time", "Remedies: fusion, CUDA graphs, larger batches"],
         notes="On average a Wren decode kernel runs 13.5 microseconds, shorter than the framework needs to launch the next one. The GPU then idles between the kernels: overhead-bound. You recognize it in the timeline by gaps, and by the fact that a faster GPU doesn't help but a faster CPU does. A CUDA graph records the sequence of launches once and replays it with a single call; the price is fixed shapes and fixed addresses, so servers capture one graph for each of several batch sizes and pad up to the next. Compilers such as torch.compile fuse and can capture graphs too."),
    dict(title="Fusion",
         bullets=["Element-wise operations are memory-bound: a few FLOPs per byte at most", "Bias, GELU and dropout on 4,096 × 8,192 fp16 values (67 MB)", "  Three kernels: 6 passes, 403 MB, 503 µs", "  One fused kernel: 2 passes, 134 MB, 168 µs", "Gain = passes saved, not arithmetic saved",
                  "Fuse into the GEMM's epilogue and even the read disappears"],
         notes="Each unfused kernel reads 67 MB and writes 67 MB. The fused kernel does the same arithmetic but keeps the intermediate values in registers. A factor of three with no change in the mathematics. The epilogue is the end of a matrix product kernel, when results are still in registers: adding the bias and applying the activation there saves one more pass. Limits of fusion: reductions across a row need cooperation of a block, and fusing too much raises register use and lowers occupancy. Layer norm and softmax are typical candidates since the row fits in a block."),
    dict(title="Attention's memory problem",
         bullets=["Scores S = Q·Kᵀ: n × n for each head", "Wren, n = 4,096: 33.6 MB a head, 537 MB for the 16 heads of a layer", "Standard: write S, read S, write P, read P = 2.15 GB, 2.7 ms a layer", "Q, K, V and the output together: only 67 MB, 84 µs", "Arithmetic: 4·n²·h = 137 GFLOP, 0.86 ms at peak"],
         notes="The score matrix is an intermediate result; nobody needs it afterwards. Materializing it makes attention memory-bound: 2.7 ms of traffic against 0.86 ms of arithmetic per layer, and over 24 layers 64 ms per sequence. In addition the memory footprint grows with the square of the length. If we never write S and P, the traffic falls to little more than Q, K, V and the output, and attention becomes compute-bound. The obstacle is the softmax: it needs the maximum and the sum over the whole row before it can output anything. The next slide removes this obstacle."),
    dict(title="The online softmax",
         bullets=["Process a row block by block; keep maximum m, sum l, output o", "New block with scores x and values v:", "  m′ = max(m, max x)", "  l′ = l·exp(m − m′) + Σ exp(x − m′)", "  o′ = o·exp(m − m′) + Σ exp(x − m′)·v", "At the end: o ÷ l. Exact, not an approximation"],
         notes="The trick, published by Milakov and Gimelshein in 2018, is to rescale what was accumulated so far whenever a new maximum turns up. Worked example with scores 1, 3 and then 2, 5. After the first block m is 3 and l is exp(-2) + 1 = 1.135. The second block brings m = 5: l becomes 1.135 times exp(-2), plus exp(-3), plus 1, which is 1.203. Directly: exp(-4) + exp(-2) + exp(-3) + 1 = 1.203. The same. Because the merge is associative, partial results of different blocks, or of different GPUs as in ring attention, can be combined in any order."),
    dict(title="FlashAttention",
         bullets=["Dao et al., 2022: tiling + online softmax + recomputation", "Keep a tile of Q on chip, stream tiles of K and V past it", "Tiles: Q 128 × 128, K and V 64 × 128 in fp16: 32 + 16 + 16 = 64 KB of 100 KB", "Extra memory: linear in n rather than quadratic", "Backward: recompute the scores from the saved log-sum-exp of each row", "FlashAttention-2 (Dao, 2023): fewer non-matmul FLOPs, better split of work"],
         notes="It does more arithmetic than the standard method, since the backward pass recomputes scores, and is still faster because it moves fewer bytes. That's the lesson of this lecture in one example. What is saved for backward is one number per row, the log-sum-exp, not the n by n matrix. FlashAttention is exact: outputs differ from the standard method only by rounding. For decoding with a single query the row of Q tiles is just one, so there's too little parallelism; the flash-decoding variant splits the keys over many blocks and merges the partial results with the same online softmax."),
    dict(title="Profiling: measure before you change",
         bullets=["Timeline (Nsight Systems, torch.profiler): gaps, copies, launch-bound phases", "Single kernel (Nsight Compute): achieved bandwidth, occupancy, stall reasons", "Warm up first; time with CUDA events or synchronize before reading the clock", "nvidia-smi's utilization = share of time in which any kernel ran"],
         code="for _ in range(10): step()          # warm-up\ntorch.cuda.synchronize()\nt0 = time.perf_counter()\nfor _ in range(100): step()\ntorch.cuda.synchronize()\nprint((time.perf_counter() - t0) / 100)",
         notes="Without the synchronize you time the launches, not the work: the classic mistake that makes everything seem to take 20 microseconds. Warm-up matters because first calls load kernels, autotune and fill caches. nvidia-smi showing 100 percent doesn't mean the GPU is used well: a GEMV at half a percent of peak arithmetic also shows 100. And keep Amdahl's law in mind: making a kernel that takes 20 percent of the time twice as fast makes the whole 1.11 times as fast. Report the median of several runs and watch the clocks; a hot card throttles."),
    dict(title="Which remedy for which regime",
         bullets=[],
         table=[["Regime", "How to recognize it", "What helps", "What doesn't"], ["Compute-bound", "Intensity above 200; tensor cores busy", "Lower precision, tensor cores, less arithmetic", "More bandwidth"],
                ["Memory-bound", "Achieved bandwidth near 800 GB/s", "Batching, fusion, quantization, tiling", "Faster arithmetic"], ["Overhead-bound", "Gaps in the timeline; CPU at 100 %", "CUDA graphs, fusion, larger batches", "A faster GPU"],
                ["Latency-bound", "Neither roof reached, low occupancy", "More parallelism, fewer dependencies", "Lower precision"]],
         notes="Go through the table from the bottom up when you diagnose: first gaps, then whether there's enough parallelism, then which of the two roofs. Latency-bound kernels are small grids: with 84 SMs, a launch of 40 blocks leaves more than half of the card idle. A related effect is the tail: 85 blocks on 84 SMs with one block each take twice as long as 84."),
    dict(title="Summary and review questions",
         bullets=["Count FLOPs, bytes and launches before you optimize", "The ridge is at 200 FLOP per byte: GEMM above, GEMV far below", "Data movement, not arithmetic, is the usual price", "Review: what is the intensity of a GEMM with M = 32, K = N = 4,096?", "Review: why is FlashAttention faster although it computes more?", "Review: decode shows 100 % utilization and 0.5 % of peak. Explain."],
         notes="Answer to the first question: 2 times 32 times 4,096 squared is 1.07 GFLOP; bytes are 2 times (4,096 squared plus 2 times 32 times 4,096), 34.1 MB; 31.5 FLOP per byte, so memory-bound. Second: it saves traffic to device memory, the scarce resource. Third: utilization counts time with a kernel running; the kernels wait for memory. For the midterm you need the roofline calculation, the online softmax and the occupancy calculation; you may put formulas on your handwritten A4 sheet."),
]


def add_table(slide, rows, top):
    shape = slide.shapes.add_table(len(rows), len(rows[0]), Inches(0.6), top, Inches(12.1), Inches(0.45 * len(rows)))
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            cell = shape.table.cell(r, c)
            cell.text = text
            for run in cell.text_frame.paragraphs[0].runs:
                run.font.size, run.font.bold = Pt(17), r == 0


def add_code(slide, code, top):
    frame = slide.shapes.add_textbox(Inches(0.6), top, Inches(12.1), Inches(2)).text_frame
    for i, line in enumerate(code.split("\n")):
        paragraph = frame.paragraphs[0] if i == 0 else frame.add_paragraph()
        run = paragraph.add_run()
        run.text, run.font.size, run.font.name = line, Pt(16), "Courier New"


def build(output: Path) -> None:
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
    deck.core_properties.title, deck.core_properties.author = "CS 4470 Lecture 6: GPU performance", "Mara Lindqvist"
    for spec in SLIDES:
        first = "subtitle" in spec
        slide = deck.slides.add_slide(deck.slide_layouts[0 if first else 5])
        slide.shapes.title.text = spec["title"]
        if first:
            slide.shapes.title.left, slide.shapes.title.top, slide.shapes.title.width, slide.shapes.title.height = Inches(0.6), Inches(2), Inches(12.1), Inches(1.5)
            box = slide.placeholders[1]
            box.left, box.top, box.width, box.height = Inches(0.6), Inches(3.8), Inches(12.1), Inches(1.5)
            box.text = spec["subtitle"]
        else:
            title = slide.shapes.title
            title.left, title.top, title.width, title.height = Inches(0.6), Inches(0.3), Inches(12.1), Inches(1)
            title.text_frame.paragraphs[0].runs[0].font.size = Pt(34)
            bullets, top = spec["bullets"], Inches(1.45)
            if bullets:
                height = Inches(sum(0.16 + 0.4 * -(-len(text) // 78) for text in bullets))  # a line holds about 78 characters
                frame = slide.shapes.add_textbox(Inches(0.6), top, Inches(12.1), height).text_frame
                frame.word_wrap = True
                for i, text in enumerate(bullets):
                    paragraph = frame.paragraphs[0] if i == 0 else frame.add_paragraph()
                    paragraph.space_after = Pt(8)
                    paragraph.level = 1 if text.startswith("  ") else 0
                    run = paragraph.add_run()
                    run.text, run.font.size = ("– " if paragraph.level else "• ") + text.strip(), Pt(20 if paragraph.level else 22)
                top += height + Inches(0.2)
            if "table" in spec:
                add_table(slide, spec["table"], top)
            if "code" in spec:
                add_code(slide, spec["code"], top)
        for paragraph in slide.shapes.title.text_frame.paragraphs:
            for run in paragraph.runs:
                run.font.bold, run.font.color.rgb = True, RGBColor(0x1F, 0x3A, 0x5F)
        slide.notes_slide.notes_text_frame.text = spec["notes"]
    output.parent.mkdir(parents=True, exist_ok=True)
    deck.save(output)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
