import { openVideo } from "./src/media/video.ts";
import { execFileSync } from "node:child_process";
const f="test/fixtures/videos/h264-bframes.mp4";
const v=await openVideo(f); 
for await (const fr of v.frames([4])) {
 for (const [name, args] of Object.entries({plain:[], acc:["-sws_flags","accurate_rnd"], bicAcc:["-sws_flags","bicubic+accurate_rnd"], s:["-s","160x120"], full:["-sws_flags","full_chroma_int"], fullacc:["-sws_flags","full_chroma_int+accurate_rnd"], neigh:["-sws_flags","neighbor"]})) {
  const rgb=execFileSync("ffmpeg",["-v","error","-i",f,"-vf","select='eq(n,100)'","-frames:v","1",...args,"-pix_fmt","rgb24","-f","rawvideo","pipe:1"]);
  let max=0,sum=0; for(let i=0;i<rgb.length;i++){const d=Math.abs(rgb[i]-fr.image.data[i]); sum+=d; if(d>max)max=d;} console.log(name,max,sum/rgb.length);
 }
}
await v.close();
