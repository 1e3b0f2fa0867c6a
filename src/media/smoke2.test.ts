import { execFileSync } from "node:child_process";
import { it } from "vitest";
import { openVideo } from "./video.ts";
it("x", async () => {
const f="test/fixtures/videos/h264-bframes.mp4";
const v=await openVideo(f); 
for await (const fr of v.frames([4])) {
 for (const [name, args] of Object.entries({plain:[], acc:["-sws_flags","accurate_rnd"], s:["-s","160x120"], full:["-sws_flags","full_chroma_int"], neigh:["-sws_flags","neighbor"], pbil:["-sws_flags", "bilinear"], none:["-vf","select='eq(n,100)',format=rgb24"], nonefa:["-vf","select='eq(n,100)',scale=flags=fast_bilinear,format=rgb24"]})) {
  const rgb=execFileSync("ffmpeg",["-v","error","-i",f,"-vf","select='eq(n,100)'","-frames:v","1",...args,"-pix_fmt","rgb24","-f","rawvideo","pipe:1"]);
  let max=0,sum=0; for(let i=0;i<rgb.length;i++){const d=Math.abs(rgb[i]!-fr.image.data[i]!); sum+=d; if(d>max)max=d;} console.log(name,max,sum/rgb.length);
 }
}
await v.close();
});
